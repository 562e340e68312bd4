"""Which names are let in, and which never reach a shell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.errors import DeployError
from deploy.ssh.targets import Target, check_prefix, parse_target

HOSTILE = (
    "-oProxyCommand=touch /tmp/x",
    "host;id",
    "host$(id)",
    "host`id`",
    "a b",
    "host\nid",
    "u;id@host",
    "-u@host",
    "host:22;id",
    "host:0",
    "host:70000",
    "",
    "@docker/x",
    "host|id",
    "'host'",
)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("pi", Target("pi")),
        ("pi@pi-3.lab", Target("pi-3.lab", "pi")),
        ("pi@10.0.0.7:2222", Target("10.0.0.7", "pi", 2222)),
        ("pi@[fe80::1]:22", Target("fe80::1", "pi", 22)),
        ("@local", Target("@local")),
    ],
)
def test_a_target_is_read(text, target):
    """User, host and port are what they look like."""
    assert parse_target(text) == target


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_is_refused(text):
    """No option, command or other connector hides in a target."""
    with pytest.raises(DeployError, match="no target"):
        parse_target(text)


@given(st.text())
def test_what_is_let_in_means_nothing_to_a_shell(text):
    """Whatever is typed: it is refused, or made of characters without a meaning of their own."""
    try:
        target = parse_target(text)
    except DeployError:
        return
    assert not set(str(target)) & set(" \t\n;|&$`'\"\\<>(){}*?!#~/")
    assert not target.host.startswith("-")


@pytest.mark.parametrize("text", ["opt", "/", "/opt/../etc", "/opt/a b", "/opt/$(id)", "/o;id", ""])
def test_a_prefix_is_a_plain_absolute_path(text):
    """What stands in unit files and commands has no blanks, no variables and no way up."""
    with pytest.raises(DeployError, match="prefix"):
        check_prefix(text)
