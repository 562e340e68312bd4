"""What is installed fits what is run: the unit's times, paths and command line."""

import re
import shlex
from pathlib import Path

import pytest

from edge.assets.store import SYSTEM_DIRECTORY
from edge.inference import crash_guard
from edge.runtime.request import RunRequest
from edge.service import attend, notify
from edge.sources.wrappers import newest_frame
from edgeemo.cli.plain_run import read_plain

SYSTEMD = Path("systemd")
UNIT = (SYSTEMD / "edgeemo.service").read_text("utf-8")
SYSUSERS = (SYSTEMD / "sysusers.d" / "edgeemo.conf").read_text("utf-8")
TMPFILES = (SYSTEMD / "tmpfiles.d" / "edgeemo.conf").read_text("utf-8")


def settings(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


def seconds(name: str) -> float:
    (text,) = settings(name)
    return float(text.removesuffix("s"))


def rows(text: str) -> list[list[str]]:
    return [shlex.split(line) for line in text.splitlines() if line and not line.startswith("#")]


def test_the_watchdog_waits_longer_than_anything_that_goes_on():
    """Signs of life come closer than WatchdogSec while all is well. See the unit's sum."""
    slow_frame_s, reload_s, slow_card_s = 2.0, 5.0, 10.0
    signs_s = min(seconds("WatchdogSec") / notify.BEATS_PER_WATCHDOG, notify.LONGEST_PAUSE_S)
    longest_s = attend.SLICE_S + slow_frame_s + signs_s + reload_s + slow_card_s
    assert longest_s < seconds("WatchdogSec")
    assert f"={longest_s:.2f} s".replace("=", "= ") in UNIT


def test_a_silent_camera_is_a_loss_before_it_is_a_hang():
    """camera_lost comes first; what native code holds for longer is ended by the watchdog."""
    assert newest_frame.STALL_S < attend.PATIENCE_S


def test_the_end_is_in_time():
    """A camera that hangs costs less than the two seconds that an end may take."""
    assert attend.SLICE_S + newest_frame.JOIN_S < 2.0 < seconds("TimeoutStopSec")


def test_a_reload_has_the_time_that_a_models_trial_takes():
    """The child's limit, and the loading after it, lie within what the watchdog waits for one."""
    assert crash_guard.TIMEOUT_S + 15 < notify.RELOAD_S
    assert settings("OOMPolicy") == ["continue"]


def test_the_documented_places_are_the_units():
    """What docs/logs.md shows as a place for other readers is below a directory of the service."""
    page = Path("docs/logs.md").read_text("utf-8")
    shown = re.findall(r'^\| `"(?:fifo|unix):([^"]+)"` \|', page, re.MULTILINE)
    assert len(shown) == 2
    for path in shown:
        assert str(Path(path).parent) == f"/run/{settings('RuntimeDirectory')[0]}"
    assert settings("RuntimeDirectoryPreserve") == ["restart"]


def test_it_never_gives_up():
    """Whatever fails, it is started again, for ever."""
    assert settings("Restart") == ["always"]
    assert settings("StartLimitIntervalSec") == ["0"]


def test_the_units_command_is_the_plain_one():
    """It starts without what reads other command lines, and with the files that are installed."""
    program, *words = settings("ExecStart")[0].split()
    assert program == "/opt/edgeemo/current/bin/edgeemo"
    assert read_plain(words) == RunRequest(
        config=Path("/etc/edgeemo/edgeemo.toml"), log_dir=Path("/var/log/edgeemo")
    )


def test_what_the_unit_uses_is_made():
    """Its user, groups and directories are those of sysusers.d and tmpfiles.d."""
    (user,), (groups,) = settings("User"), settings("SupplementaryGroups")
    kinds = {(kind, name) for kind, name, *_ in rows(SYSUSERS)}
    assert {("u", user), *(("g", group) for group in groups.split())} <= kinds
    made = {path: tuple(rest) for _, path, *rest in rows(TMPFILES)}
    assert made["/var/log/edgeemo"] == ("0750", user, user, "-")
    for name in ("LogsDirectory", "CacheDirectory", "RuntimeDirectory"):
        assert settings(name) == ["edgeemo"]
        assert settings(f"{name}Mode") == ["0750"]
    assert str(SYSTEM_DIRECTORY) in made
    for path in re.findall(r"/(?:etc|opt|var)/\S+", settings("ExecStart")[0]):
        assert any(path == known or path.startswith(f"{known}/") for known in made)


@pytest.mark.parametrize("name", ["NoNewPrivileges", "PrivateNetwork", "MemoryDenyWriteExecute"])
def test_the_strictest_settings_are_on(name):
    """What costs nothing is not switched off in passing."""
    assert settings(name) == ["yes"]
    assert settings("CapabilityBoundingSet") == [""]
    assert settings("ProtectSystem") == ["strict"]


def test_the_page_tells_what_is_set():
    """docs/service.md names each setting that a camera makes impossible, and the shipped limits."""
    page = Path("docs/service.md").read_text("utf-8")
    for name in ("PrivateDevices", "SupplementaryGroups", "PrivateUsers", "ProcSubset"):
        assert f"`{name}=" in page
    for name in ("MemoryMax", "CPUQuota"):
        assert f"`{name}={settings(name)[0]}`" in page
