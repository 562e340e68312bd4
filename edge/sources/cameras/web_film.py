"""A finished film at an http address: read as one in a file is, with its own times and an end."""

import shutil
import tempfile
from pathlib import Path
from typing import Final

from edge.errors import CameraError
from edge.protocols import FrameSource
from edge.sources.cameras.web import Answer
from edge.sources.files.recording import check_content

SPARE_BYTES: Final = 100_000_000
"""So many bytes are left to others where a film is kept for a while."""
_CHUNK: Final = 1 << 20


def open_web_film(url: str, answer: Answer) -> FrameSource:
    """Open the film that an answer announces; the answer is closed.

    PyAV reads it as it comes, unless its index stands at its end, where a server that gives no
    byte ranges lets nobody look. Then, and for OpenCV, which looks through a film before it decodes
    it, a copy is made without a name, which is gone when the film is closed, or this process ends.

    Raises:
        CameraError: it is no film, or there is no room for the copy.
    """
    from edge.sources.select import has_av

    try:
        check_content(answer.name, answer.peek())
        if not has_av():
            return _copied(answer)
    finally:
        answer.close()
    from edge.sources.files.av_film import AvFilm

    try:
        return AvFilm(url, answer.name, answer.modified)
    except CameraError:
        if answer.gives_ranges:
            raise
    again = Answer(url)
    try:
        return _copied(again)
    finally:
        again.close()


def _copied(answer: Answer) -> FrameSource:
    place = tempfile.gettempdir()
    room = max(shutil.disk_usage(place).free - SPARE_BYTES, 0)
    if answer.length > room:
        raise CameraError(
            f"{answer.name}: a film of {answer.length / 1e6:,.0f} MB, and {room / 1e6:,.0f} MB are "
            f"free for it in {place}; download it elsewhere, or install the extra edgeemo[video] "
            "and let the server give byte ranges: then it is read as it comes"
        )
    from edge.sources.select import open_film

    with tempfile.NamedTemporaryFile(prefix="edgeemo-") as copy:
        while chunk := answer.exactly(_CHUNK):
            copy.write(chunk)
        copy.flush()
        # Opened by then: the name may go.
        return open_film(Path(copy.name), answer.name, answer.modified)
