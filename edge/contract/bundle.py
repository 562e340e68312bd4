"""Model bundles on disk: verified whenever opened, written atomically.

A bundle is a directory with the files in ``FILES`` and their hashes in ``SHA256SUMS`` (the format
of ``sha256sum``, so that ``sha256sum -c SHA256SUMS`` checks one without edgeemo).
"""

import hashlib
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from edge.contract.metadata import Metadata, decode_metadata
from edge.errors import BundleError, not_there
from edge.files import UnsuitableError, read_bounded, sync_folder

MODEL: Final = "model.tflite"
METADATA: Final = "metadata.json"
PARITY: Final = "parity.json"
GOLDEN: Final = "golden.npz"
MODEL_CARD: Final = "MODEL_CARD.md"
SUMS: Final = "SHA256SUMS"
REHEARSAL: Final = "rehearsal.npz"
FILES: Final = (MODEL, METADATA, PARITY, GOLDEN, MODEL_CARD)
"""The files that every bundle has besides ``SHA256SUMS``."""
KNOWN: Final = (*FILES, REHEARSAL)
"""Those, and the one that it may have."""

MOST_BYTES: Final = 256 << 20
"""Of a model. Larger than any that a device could run."""
MOST_REHEARSAL: Final = 100_000
"""Of ``rehearsal.npz``."""
_MOST_BESIDE: Final = 32 << 20
"""Of any other file."""

PACKAGED: Final = Path(__file__).parents[1] / "models" / "default"
"""The bundle that edgeemo brings."""
_PACKAGED_NAME: Final = Path("default")

_HERE: Final = -100  # AT_FDCWD
_RENAME_EXCHANGE: Final = 2


class Bundle(msgspec.Struct, frozen=True):
    """A bundle whose hashes held when it was opened.

    Attributes:
        path: its directory.
        metadata: the decoded ``metadata.json``.
        sha256: hash of every file, by name.
        model: the bytes of ``model.tflite`` that were verified (not read a second time).
    """

    path: Path
    metadata: Metadata
    sha256: Mapping[str, str]
    model: bytes

    @property
    def digest(self) -> str:
        """One SHA-256 for the whole bundle: that of its sums, sorted by name."""
        return hashlib.sha256(_sums_text(self.sha256)).hexdigest()


def bundle_path(given: Path | None) -> Path:
    """Return where a bundle is: ``default``, or nothing, is the packaged one.

    A folder of one's own that is called ``default`` goes before it.
    """
    if given is None or (given == _PACKAGED_NAME and not given.exists()):
        return PACKAGED
    return given


def open_bundle(path: Path) -> Bundle:
    """Open a bundle and verify every file of it.

    Raises:
        BundleError: not a bundle, a file missing, altered or unlisted, or metadata that does not
            decode.
    """
    _check_directory(path)
    expected = _read_sums(path)
    contents: dict[str, bytes] = {}
    for name, digest in expected.items():
        content = _read(path / name)
        actual = hashlib.sha256(content).hexdigest()
        if actual != digest:
            raise BundleError(
                f"{path / name}: altered: SHA-256 {actual[:12]}..., {SUMS} says {digest[:12]}...; "
                "copy the bundle again or convert the model again"
            )
        if name in (METADATA, MODEL):  # the others need not be in memory together
            contents[name] = content
    metadata = decode_metadata(contents[METADATA], str(path / METADATA))
    return Bundle(path, metadata, expected, contents[MODEL])


def _check_directory(path: Path) -> None:
    reason, is_there = "no such bundle", True
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):  # noqa: PTH116 - is_dir() knows no reason
            return
    except FileNotFoundError:
        is_there = False
    except OSError as error:  # a folder above that may not be entered, too long a name
        reason = error.strerror or reason
    except ValueError as error:  # a null character
        reason = str(error)
    refusal = BundleError(
        f"{path}: {reason}; expected a directory with {', '.join(FILES)}, "
        "as written by `edgeemo convert`"
    )
    raise refusal if is_there else not_there(refusal)


def read_file(bundle: Bundle, name: str) -> bytes:
    """Return one of a bundle's files, as it was when the bundle was opened.

    Raises:
        BundleError: it is not any more.
    """
    content = _read(bundle.path / name)
    if hashlib.sha256(content).hexdigest() != bundle.sha256[name]:
        raise BundleError(
            f"{bundle.path / name}: altered since the bundle was opened; copy the bundle again"
        )
    return content


def check_target(path: Path) -> None:
    """Refuse a place where no bundle can go, before long work is done for it.

    Raises:
        BundleError: ``path`` is taken by something that is not a bundle.
    """
    if path.exists() and not (path / SUMS).is_file():
        raise BundleError(f"{path}: exists and is not a bundle; choose another --out")


def write_bundle(path: Path, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle in one step: it appears whole or not at all.

    An existing bundle at ``path`` is replaced; anything else there is refused.

    Args:
        path: the directory to make.
        files: contents by name: all those in ``FILES``, and ``rehearsal.npz`` or not.

    Raises:
        BundleError: wrong names, ``path`` holds something that is not a bundle, or the disk
            refuses.
    """
    # Only here: a device only reads, and starts faster without them.
    import shutil
    import tempfile

    if not set(FILES) <= set(files) <= set(KNOWN):
        raise BundleError(
            f"a bundle has the files {sorted(FILES)} and may have {REHEARSAL}, got {sorted(files)}"
        )
    check_target(path)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        # Beside the target: a rename is atomic within one file system only.
        prefix = f".{path.name}.{os.getpid()}-"
        staging = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    except OSError as error:
        raise BundleError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        staging.chmod(0o755)
        for name, data in {**files, SUMS: _sums_text(sums)}.items():
            _write_durably(staging / name, data)
        _swap(staging, path)
    except OSError as error:
        raise BundleError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return open_bundle(path)


def _remove_abandoned(path: Path) -> None:
    """Remove what a killed process has begun to write for ``path``; a living one's stays."""
    import glob
    import shutil

    for begun in path.parent.glob(f".{glob.escape(path.name)}.*-*"):
        owner = begun.name.removeprefix(f".{path.name}.").partition("-")[0]
        if owner.isdecimal() and not _is_alive(int(owner)):
            shutil.rmtree(begun, ignore_errors=True)


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # where asking would interrupt it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def _swap(staging: Path, path: Path) -> None:
    """Put ``staging`` in the place of ``path``, which may be an older bundle."""
    if not path.exists():
        staging.rename(path)
    elif not _exchange(staging, path):
        _swap_in_two_steps(staging, path)
    sync_folder(path.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two directories at once, so that a kill leaves one or the other.

    ``renameat2(2)`` of Linux; Python has no name for it. False where system or disk cannot.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # glibc before 2.28
        return False
    failed = rename(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _RENAME_EXCHANGE)
    return not failed


def _swap_in_two_steps(staging: Path, path: Path) -> None:
    """Do the same where the file system cannot exchange: a kill between leaves only the old one.

    It lies beside ``path`` then, hidden, as ``.NAME.old-PID``.
    """
    import shutil

    old = path.with_name(f".{path.name}.old-{os.getpid()}")
    path.rename(old)
    try:
        staging.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sums_text(sums: Mapping[str, str]) -> bytes:
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode()


def _read_sums(path: Path) -> dict[str, str]:
    sums: dict[str, str] = {}
    for number, line in enumerate(_read(path / SUMS).decode("utf-8", "replace").splitlines(), 1):
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != 64 or name not in KNOWN:
            raise BundleError(f"{path / SUMS}: line {number} is not '<sha256>  <file of a bundle>'")
        sums[name] = digest
    if missing := [name for name in FILES if name not in sums]:
        raise BundleError(f"{path / SUMS}: does not list {', '.join(missing)}")
    return sums


def _read(path: Path) -> bytes:
    most = {MODEL: MOST_BYTES, REHEARSAL: MOST_REHEARSAL}.get(path.name, _MOST_BESIDE)
    try:
        return read_bounded(path, most)
    except UnsuitableError as error:
        raise BundleError(
            f"{path}: not a file of a bundle; expected a regular one of at most {most:,} bytes"
        ) from error
    except OSError as error:
        raise BundleError(
            f"{path}: {error.strerror}; a bundle holds {', '.join(FILES)} and {SUMS}"
        ) from error
