"""What a device is and what is on it, and whether a release can go there at all."""

from importlib import resources
from typing import Annotated, Final, TypedDict

import msgspec

from deploy.errors import DeployError

MACHINES: Final = ("aarch64", "x86_64")
OLDEST_PYTHON: Final = (3, 11)
NEWEST_PYTHON: Final = (3, 13)
LONGEST_WINDOW_S: Final = 3600.0
"""How long a release may be on trial."""

_Word = Annotated[str, msgspec.Meta(max_length=1100)]
_Words = Annotated[list[_Word], msgspec.Meta(max_length=1000)]
_Small = Annotated[int, msgspec.Meta(ge=0, le=1000)]
_Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]
_Path = Annotated[str, msgspec.Meta(max_length=4096, pattern=r"^/[^\x00-\x1f\x7f]*\Z")]
_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Hashes = Annotated[list[_Hash], msgspec.Meta(max_length=10_000)]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
_Names = Annotated[list[_Name], msgspec.Meta(max_length=1000)]


class File(TypedDict):
    """A file of a release, as its manifest lists it."""

    path: _Word
    sha256: _Hash
    size: _Bytes


class Manifest(TypedDict, total=False):
    """What a release says of itself; nothing, where none runs."""

    version: _Word
    model: _Word
    files: Annotated[list[File], msgspec.Meta(max_length=10_000)]


class Failure(TypedDict, total=False):
    """Why and when a release did not hold."""

    problem: Annotated[str, msgspec.Meta(max_length=20_000)]
    time: _Word


class State(TypedDict, total=False):
    """What has become of releases."""

    service: _Word
    good: _Names
    failed: Annotated[dict[_Name, Failure], msgspec.Meta(max_length=100)]


class Pending(TypedDict, total=False):
    """What is on trial."""

    release: _Name
    window_s: Annotated[float, msgspec.Meta(ge=0)]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """As printed by ``deploy/device/facts.py``. A device may print anything: all of it is bounded.

    Attributes:
        machine: of the kernel, as ``aarch64``.
        bits: of the Python, for a 32-bit userland can sit on a 64-bit kernel.
        libc: name and version, as ``("glibc", "2.36")``.
        free_bytes: where the prefix is, or will be.
        writable: the prefix can be written without sudo.
        sudo: commands can be run as root, without a password or by one that was given.
        staged: sizes of files that were sent before and are what they are called, by SHA-256.
        present: something is at the prefix.
        wheels: SHA-256 of those that the device kept.
        current: the release that ``current`` points to.
        release: its manifest.
        state: what was good and what failed, by release.
        pending: what is being tried, if anything.
        service: what systemd says about it.
    """

    machine: _Word
    bits: _Small
    os: _Word
    python: tuple[_Small, _Small, _Small]
    libc: tuple[_Word, _Word]
    free_bytes: _Bytes
    writable: bool
    user: _Word
    root: bool
    groups: _Words
    sudo: bool
    systemd: bool
    venv: bool
    cameras: _Words
    staging: _Path
    staged: Annotated[dict[_Hash, _Bytes], msgspec.Meta(max_length=10_000)]
    present: bool
    wheels: _Hashes
    releases: _Names
    current: _Word | None
    release: Manifest
    state: State
    pending: Pending | None
    service: Annotated[
        dict[_Word, Annotated[str, msgspec.Meta(max_length=4096)]], msgspec.Meta(max_length=100)
    ]

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
    except (msgspec.DecodeError, RecursionError) as error:
        raise DeployError(
            f"the device answered something that is not its facts ({error}); expected python3 and "
            "a shell that prints nothing of its own, and sound files below the prefix"
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
