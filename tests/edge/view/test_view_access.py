"""Who may look: the rules by themselves."""

import os

import pytest

from edge.errors import ConfigError
from edge.view.access import own_token_file, read_token, rules

TOKEN = "a-token-of-some-length"


@pytest.mark.parametrize(
    ("address", "host", "known"),
    [
        ("127.0.0.1", "127.0.0.1:8765", True),
        ("127.0.0.1", "localhost:8765", True),
        ("127.0.0.1", "LOCALHOST", True),
        ("127.0.0.1", "localhost:9000", True),  # through `ssh -L 9000:localhost:8765`
        ("127.0.0.1", "[::1]:8765", True),
        ("::1", "[::1]:8765", True),
        ("127.0.0.1", "evil.example:8765", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "192.168.1.7:8765", False),
        ("127.0.0.1", "evil@localhost", False),
        ("127.0.0.1", "localhost/evil", False),
        ("127.0.0.1", "localhost:port", False),
        ("127.0.0.1", "[::1", False),
        ("127.0.0.1", "", False),
        ("0.0.0.0", "192.168.1.7:8765", True),
        ("0.0.0.0", "evil.example:8765", False),
        ("::", "[fe80::1]:8765", True),
        ("192.168.1.7", "192.168.1.7:8765", True),
        ("192.168.1.7", "192.168.1.8:8765", False),
        ("192.168.1.7", "camera.lab:8765", True),
    ],
)
def test_only_names_of_this_machine_are_known(address, host, known):
    """A name that somebody else controls never opens the page, whatever it resolves to."""
    allowed = ("Camera.Lab",) if address == "192.168.1.7" else ()
    problem = rules(address, 8765, TOKEN, allowed).problem({"host": host})
    assert (problem == "") == known


@pytest.mark.parametrize(
    ("headers", "fine"),
    [
        ({}, True),
        ({"origin": "http://localhost:8765"}, True),
        ({"origin": "http://localhost:9999"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, False),
        (
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate",
             "sec-fetch-dest": "document"}, True,
        ),
        (
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate",
             "sec-fetch-dest": "iframe"}, False,
        ),
    ],
)  # fmt: skip
def test_other_pages_can_link_here_and_nothing_else(headers, fine):
    """Fetches, images, frames and forms of another page are refused; following a link is not."""
    problem = rules("127.0.0.1", 8765, None).problem({"host": "localhost:8765", **headers})
    assert (problem == "") == fine


def test_an_address_that_others_reach_needs_a_token():
    """Without one the page is not served at all, and the remedy is told."""
    for address in ("0.0.0.0", "192.168.1.7", "::"):
        with pytest.raises(ConfigError, match="--token-file"):
            rules(address, 8765, None)
    assert rules("127.0.0.1", 8765, None).admits({})


def test_a_token_is_known_by_bearer_or_cookie():
    """Either lets in; a wrong one, the token as cookie, or rubbish does not."""
    access = rules("0.0.0.0", 8765, TOKEN)
    assert access.admits({"authorization": f"Bearer {TOKEN}"})
    assert access.admits({"cookie": f"a=b; edgeemo-8765={access.proof()}"})
    assert TOKEN not in access.proof()
    for headers in (
        {}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"},
        {"cookie": f"edgeemo-8765={TOKEN}"}, {"cookie": f"edgeemo-1={access.proof()}"},
        {"cookie": "\x00;==;"}, {"authorization": "Bearer \xe9"},
    ):  # fmt: skip
        assert not access.admits(headers)


def test_a_missing_token_file_is_made_and_kept(tmp_path):
    """The token is random, its owner's alone, and the same at the next start."""
    first, second = tmp_path / "one", tmp_path / "two"
    token = read_token(first)
    assert len(token) >= 24
    assert first.stat().st_mode & 0o777 == 0o600
    assert read_token(first) == token != read_token(second)


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        ("short\n", 0o600, "at least 16"),
        ("", 0o600, "at least 16"),
        ("two words that are long enough\n", 0o600, "one word"),
        ("long-enough-but-public\n", 0o644, "chmod 600"),
        ("long-enough-for-the-group\n", 0o640, "chmod 600"),
        ("long-enough-to-be-changed\n", 0o620, "chmod 600"),
        ("x" * 1001 + "\n", 0o600, "at most 1000"),
        ("pässwörter-sind-lang\n", 0o600, "ASCII"),
    ],
)
def test_a_weak_token_is_refused(tmp_path, content, mode, told):
    """A token that can be guessed or read by everybody guards nothing."""
    path = tmp_path / "token"
    path.write_text(content, "utf-8")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=told) as caught:
        read_token(path)
    assert not content.strip() or content.strip() not in str(caught.value)


def test_a_token_file_is_a_file_of_ones_own(tmp_path):
    """A link, a FIFO, a folder or a socket is refused at once: not followed and not waited for."""
    whole = tmp_path / "whole"
    read_token(whole)
    (tmp_path / "link").symlink_to(whole)
    (tmp_path / "nowhere").symlink_to(tmp_path / "made-elsewhere")
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir(0o700)
    for name in ("link", "nowhere", "fifo", "folder"):
        with pytest.raises(ConfigError, match="not a regular file"):
            read_token(tmp_path / name)
    assert not (tmp_path / "made-elsewhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_a_token_that_another_account_knows_is_refused(tmp_path):
    """Even where it can be read: its owner could open the page."""
    path = tmp_path / "token"
    read_token(path)
    os.chown(path, 65534, 65534)
    with pytest.raises(ConfigError, match="belongs to another account"):
        read_token(path)


def test_this_accounts_token_is_kept_in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Nobody else gets in, and every start finds the same file."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = own_token_file()
    assert path == own_token_file()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/state")
    with pytest.raises(ConfigError, match="--no-token"):
        own_token_file()


def test_a_token_file_that_can_not_be_made_is_told(tmp_path):
    """The path and the reason, in one line."""
    with pytest.raises(ConfigError, match="No such file"):
        read_token(tmp_path / "no" / "token")
