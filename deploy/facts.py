"""What a device is and what is on it, and whether a release can go there at all."""

from importlib import resources
from typing import Any, Final

import msgspec

from deploy.errors import DeployError

MACHINES: Final = ("aarch64", "x86_64")
OLDEST_PYTHON: Final = (3, 11)
NEWEST_PYTHON: Final = (3, 13)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """As printed by ``deploy/device/facts.py``.

    Attributes:
        machine: of the kernel, as ``aarch64``.
        bits: of the Python, for a 32-bit userland can sit on a 64-bit kernel.
        libc: name and version, as ``("glibc", "2.36")``.
        free_bytes: where the prefix is, or will be.
        writable: the prefix can be written without sudo.
        sudo: commands can be run as root without a password.
        staged: sizes of files that were sent before, by SHA-256.
        present: something is at the prefix.
        wheels: SHA-256 of those that the device kept.
        current: the release that ``current`` points to.
        release: its manifest.
        state: what was good and what failed, by release.
        pending: what is being tried, if anything.
        service: what systemd says about it.
    """

    machine: str
    bits: int
    os: str
    python: tuple[int, int, int]
    libc: tuple[str, str]
    free_bytes: int
    writable: bool
    user: str
    root: bool
    groups: list[str]
    sudo: bool
    systemd: bool
    venv: bool
    cameras: list[str]
    picamera2: bool
    staging: str
    staged: dict[str, int]
    present: bool
    wheels: list[str]
    releases: list[str]
    current: str | None
    release: dict[str, Any]
    state: dict[str, Any]
    pending: dict[str, Any] | None
    service: dict[str, str]

    @property
    def python_version(self) -> str:
        """As ``3.11``."""
        return f"{self.python[0]}.{self.python[1]}"


def probe() -> str:
    """Return the program that gathers the facts, for ``python3 -`` on the device."""
    return resources.files("deploy.device").joinpath("facts.py").read_text("utf-8")


def decode(text: str) -> Facts:
    """Read what the probe printed.

    Raises:
        DeployError: it is something else.
    """
    last = text.strip().splitlines()[-1:] or [""]
    try:
        return msgspec.json.decode(last[0], type=Facts)
    except msgspec.DecodeError as error:
        raise DeployError(
            f"the device answered something that is not its facts ({error}); expected python3 and "
            "a shell that prints nothing of its own"
        ) from error


def refusal(facts: Facts) -> str:
    """Return why nothing can be installed on this device, or an empty text."""
    if facts.bits != 64:
        return (
            f"a {facts.bits}-bit userland ({facts.os}, {facts.machine}); no TFLite runtime has "
            "32-bit wheels: install the 64-bit system"
        )
    if facts.machine not in MACHINES:
        return f"a {facts.machine} processor; expected {' or '.join(MACHINES)}"
    if facts.libc[0] != "glibc":
        return f"a C library other than glibc ({facts.libc[0]}); wheels need glibc 2.28 or newer"
    if not OLDEST_PYTHON <= facts.python[:2] <= NEWEST_PYTHON:
        return (
            f"Python {facts.python_version} ({facts.os}); expected 3.11 to 3.13: "
            "Raspberry Pi OS or Debian, Bookworm or Trixie"
        )
    if not facts.venv:
        return "a Python without its venv module; install the system's python3 whole"
    return ""
