"""A sheet of pictures whose labels contradict the model, to be looked at."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.calibration.judge import Contradiction
from edge.calibration.pictures import Pictures
from edge.errors import CalibrationError

_COLUMNS: Final = 8
_TILE: Final = 144
_LINES: Final = 34
_MOST: Final = 64
_GAP: Final = 6
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX


def write_sheet(
    path: Path, pictures: Pictures, found: Contradiction, labels: tuple[str, ...]
) -> None:
    """Write the crops as a PNG, each with its label and the model's answer.

    Raises:
        CalibrationError: the disk refuses.
    """
    chosen = np.flatnonzero(found.contradicted)[:_MOST]
    rows = -(-len(chosen) // _COLUMNS)
    wide, high = _TILE + _GAP, _TILE + _LINES + _GAP
    sheet = np.full((rows * high + _GAP, min(len(chosen), _COLUMNS) * wide + _GAP), 255, np.uint8)
    samples = pictures.samples
    for place, i in enumerate(chosen):
        y, x = _GAP + place // _COLUMNS * high, _GAP + place % _COLUMNS * wide
        tile = cv2.resize(pictures.crops[i], (_TILE, _TILE), interpolation=cv2.INTER_CUBIC)
        sheet[y : y + _TILE, x : x + _TILE] = tile
        answer = int(samples.scores[i].argmax())
        said = f"model {labels[answer]} {samples.scores[i, answer]:.0%}"
        for line, text in enumerate((f"label {labels[samples.answers[i]]}", said)):
            where = (x, y + _TILE + 14 + 15 * line)
            cv2.putText(sheet, text, where, _FONT, 0.38, 0, 1, cv2.LINE_AA)
    data = cv2.imencode(".png", sheet)[1].tobytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o600)  # they are faces
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written ({error.strerror})") from error
