"""The folder of captured pictures: class folders, and a manifest that says who and when.

Whatever is killed at whatever moment, pictures and manifest are whole: a picture is written beside
its place and renamed, then the manifest is, with its line. A picture without a line is what a kill
between the two leaves; the next start removes it. Everything is for its owner alone (0600).
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.labels import NonEmptyText, Text
from edge.contract.manifest import MANIFEST
from edge.errors import CaptureError, ConfigError
from edge.files import create_anew, lock_alone, open_to_lock

DERIVED: Final = "derived.jsonl"
"""What was made from the pictures: a line each."""
_SUBJECT: Final = re.compile(r"[a-z0-9][a-z0-9_]{0,31}")
_PICTURE: Final = re.compile(r"(?P<subject>[a-z0-9][a-z0-9_]{0,31})-[0-9a-f]{8}-\d{4}\.png")
_PART: Final = ".part"


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the manifest.

    Attributes:
        path: of the picture, below the folder.
        label: what the person was asked to show.
        subject: who it is.
        time: when it was taken, UTC, ISO 8601.
        session: of capturing, random.
        camera: the source.
        quality: as the device's quality gate saw it.
        consent: the text that the person agreed to.
        consent_time: when, UTC, ISO 8601.
    """

    path: Text
    label: NonEmptyText
    subject: NonEmptyText
    time: Text
    session: Text
    camera: Text
    quality: Text
    consent: Text
    consent_time: Text


class Derived(msgspec.Struct, frozen=True, kw_only=True):
    """Something made from pictures of the folder.

    Attributes:
        what: ``bundle``, ``run``, ``prepared data``, ``report`` and the like.
        path: where it was written.
        fingerprint: of what it was made from.
        people: whose pictures that were.
        time: when, UTC, ISO 8601.
    """

    what: Text
    path: Text
    fingerprint: Text
    people: tuple[Text, ...]
    time: Text


def check_subject(subject: str) -> str:
    """Return a person's name as files may carry it.

    Raises:
        ConfigError: it may not.
    """
    if not _SUBJECT.fullmatch(subject):
        raise ConfigError(
            f"--subject {subject}: expected small letters, digits and _, at most 32, such as anna; "
            "a pseudonym does"
        )
    return subject


class CaptureFolder:
    """A folder that one process at a time writes to.

    Args:
        path: the folder; made when the first picture is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def opened(self) -> Iterator[list[Taken]]:
        """Make and lock the folder, remove what a killed process left; yields what it holds.

        Raises:
            CaptureError: it cannot be made or read, is no folder of ours, or is in use.
        """
        with self._errors():
            if self.path.is_dir() and any(self.path.iterdir()) and not self._is_ours():
                raise CaptureError(
                    f"{self.path}: holds other things and no {MANIFEST}; choose another --out"
                )
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = open_to_lock(self.path)
        try:
            with self._errors():
                lock_alone(lock)
                taken = self.taken()
                self._remove_unlisted({line.path for line in taken})
                if not (self.path / MANIFEST).exists():
                    self._write(MANIFEST, b"")
            yield taken
        finally:
            os.close(lock)

    def taken(self) -> list[Taken]:
        """Return the manifest's lines.

        Raises:
            CaptureError: it is damaged.
        """
        return self._read(MANIFEST, Taken)

    def derived(self) -> list[Derived]:
        """Return what was made from the pictures, as far as it was written down.

        Raises:
            CaptureError: the list is damaged.
        """
        return self._read(DERIVED, Derived)

    def keep(self, image: NDArray[np.uint8], line: Taken, others: list[Taken]) -> None:
        """Write a picture and then its line; both are on the disk afterwards.

        Args:
            image: BGR uint8 ``(H, W, 3)``.
            line: of the picture.
            others: all lines before; the new one is added.

        Raises:
            CaptureError: the disk refuses.
        """
        data = cv2.imencode(".png", image)[1].tobytes()
        with self._errors():
            (self.path / line.path).parent.mkdir(exist_ok=True, mode=0o700)
            self._write(line.path, data)
            self._write(MANIFEST, _lines([*others, line]))
        others.append(line)

    def note(self, derived: Derived) -> None:
        """Add a line on what was made; the folder is open.

        Raises:
            CaptureError: the disk refuses.
        """
        with self._errors():
            self._write(DERIVED, _lines([*self.derived(), derived]))

    def forget(self, subject: str) -> int:
        """Delete every picture and line of a person, and look whether any is left.

        The lines go first: a kill leaves pictures without a line, which a second call removes.

        Returns:
            How many pictures were deleted.

        Raises:
            CaptureError: the disk refuses, or something is still there.
        """
        with self.opened() as taken, self._errors():
            listed = {line.path for line in taken if line.subject == subject}
            count = len({*listed, *(str(p.relative_to(self.path)) for p in self._of(subject))})
            self._write(MANIFEST, _lines([line for line in taken if line.subject != subject]))
            for path in [*(self.path / path for path in listed), *self._of(subject)]:
                path.unlink(missing_ok=True)
            for folder in {path.parent for path in map(self.path.joinpath, listed)}:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
            if any(line.subject == subject for line in self.taken()) or any(self._of(subject)):
                raise CaptureError(f"{self.path}: pictures of {subject} are still there; run again")
        return count

    def _of(self, subject: str) -> Iterator[Path]:
        for path in self.path.rglob("*"):
            match = _PICTURE.fullmatch(path.name.removesuffix(_PART).lstrip("."))
            if match and match["subject"] == subject:
                yield path

    def _is_ours(self) -> bool:
        return (self.path / MANIFEST).is_file()

    def _remove_unlisted(self, listed: set[str]) -> None:
        for path in self.path.rglob("*"):
            is_part = path.name.startswith(".") and path.name.endswith(_PART)
            name = str(path.relative_to(self.path))
            if is_part or (_PICTURE.fullmatch(path.name) and name not in listed):
                path.unlink(missing_ok=True)

    def _write(self, name: str, data: bytes) -> None:
        place = self.path / name
        part = place.with_name(f".{place.name}{_PART}")
        with create_anew(part, 0o600) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(place)

    def _read(self, name: str, kind: type[msgspec.Struct]) -> list:  # type: ignore[type-arg]
        path = self.path / name
        try:
            return msgspec.json.Decoder(kind).decode_lines(path.read_bytes())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CaptureError(f"{path}: cannot be read ({error.strerror})") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise CaptureError(
                f"{path}: not a list that edgeemo wrote ({error}); correct or remove the line"
            ) from error

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError as error:
            raise CaptureError(
                f"{self.path}: another process captures into it; wait for it"
            ) from error
        except OSError as error:
            raise CaptureError(f"{self.path}: {error.strerror}; choose another --out") from error


def note_derived(folder: Path, derived: Derived) -> None:
    """Write down what was made from a folder's pictures, if it is one of captured pictures.

    Raises:
        CaptureError: the disk refuses.
    """
    if not (folder / MANIFEST).is_file():
        return
    capture = CaptureFolder(folder)
    try:
        capture.taken()
    except CaptureError:
        return  # a manifest of somebody else's
    with capture.opened():
        capture.note(derived)


def _lines(lines: list) -> bytes:  # type: ignore[type-arg]
    return msgspec.json.Encoder().encode_lines(lines)
