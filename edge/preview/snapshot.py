"""One picture of a run: the frame that shows best what was seen."""

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError, SinkError
from edge.files import create_anew
from edge.preview.overlay import draw
from edge.records import FrameResult


class Snapshot:
    """Keeps the frame with the most confident face and writes it, annotated, at the end.

    The overlay is drawn only when a frame beats the best so far by a twentieth, so that a clip
    whose confidence creeps up does not pay for every frame.
    """

    def __init__(self, path: Path) -> None:
        """Check the path.

        Raises:
            ConfigError: not a PNG or JPEG file name, or its directory does not exist.
        """
        if path.suffix.lower() not in {".png", ".jpg", ".jpeg"}:
            raise ConfigError(f"--snapshot {path}: expected a file name ending in .png or .jpg")
        if not path.parent.is_dir():
            raise ConfigError(f"--snapshot {path}: there is no directory {path.parent}")
        self.path = path
        self._picture: NDArray[np.uint8] | None = None
        self._confidence = -1.0

    def __call__(self, result: FrameResult) -> bool:
        """Look at a result; never asks to stop."""
        confidence = max((face.state.confidence for face in result.faces), default=-1.0)
        if self._picture is None or confidence > self._confidence + 0.05:
            self._confidence, self._picture = confidence, draw(result)
        return True

    def close(self) -> None:
        """Write the picture, if there was any frame.

        Raises:
            SinkError: the disk refuses.
        """
        if self._picture is None:
            return
        _, encoded = cv2.imencode(self.path.suffix, self._picture)
        self._picture = None
        partial = self.path.with_name(f".edgeemo-{os.getpid()}.part")
        try:
            with create_anew(partial) as file:
                file.write(encoded.tobytes())
            partial.replace(self.path)
        except OSError as error:
            raise SinkError(f"{self.path}: cannot be written ({error.strerror})") from error
