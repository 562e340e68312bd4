"""Contact sheets: grids of pictures to look at, as PNG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from host_training.atomic import write_atomically
from host_training.data.near_duplicates import NearPairs
from host_training.data.samples import Samples
from host_training.errors import DataError

SEED: Final = 0
"""Of the choice of rows: the same data set gives the same sheets."""
_COLUMNS: Final = 12
_ROWS: Final = 10
_TILE: Final = 96
_WORDS: Final = 14
"""Height of the line below a tile, in pixels."""
_GAP: Final = 4
_HEAD: Final = 26
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX


def write_sheets(
    samples: Samples,
    folder: Path,
    near: NearPairs | None = None,
    found: NDArray[np.bool_] | None = None,
) -> list[Path]:
    """Write one sheet a class, one of near-duplicate pairs and one of pictures without a face.

    Args:
        samples: the data set.
        folder: made if it is not there; older sheets of the same names are replaced.
        near: its near duplicates, if they were looked for.
        found: bool ``(n,)``: whether there is a face in each picture, if that was looked for.

    Returns:
        The files. A class, or a list, without a row gets none.

    Raises:
        DataError: the folder cannot be made.
        TrainingError: the disk refuses.
    """
    chosen = {label: samples.class_ids == place for place, label in enumerate(samples.labels)}
    chosen["excluded"] = ~samples.measurable
    if found is not None:
        chosen["without_face"] = ~found
    sheets = {
        name: _rows_sheet(samples, name.replace("_", " "), np.flatnonzero(rows))
        for name, rows in chosen.items()
        if rows.any()
    }
    if near is not None and len(near.pairs):
        sheets["near_duplicates"] = _pairs_sheet(samples, near)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be made ({error.strerror})") from error
    files = [folder / f"{name}.png" for name in sheets]
    for file, sheet in zip(files, sheets.values(), strict=True):
        _write(sheet, file)
    return files


def contact_sheet(
    tiles: Sequence[NDArray[np.uint8]], words: Sequence[str], title: str
) -> NDArray[np.uint8]:
    """Return a grey picture with the tiles in rows, each with its words below it.

    Args:
        tiles: at least one, uint8 ``(h, w)``, all of one shape.
        words: one short line a tile.
        title: the line above them all.
    """
    height, width = tiles[0].shape
    columns = max(1, min(len(tiles), _COLUMNS * (_TILE + _GAP) // (width + _GAP)))
    rows = -(-len(tiles) // columns)
    step_y, step_x = height + _WORDS + _GAP, width + _GAP
    (title_width, _), _ = cv2.getTextSize(title, _FONT, 0.5, 1)
    side = max(columns * step_x + _GAP, title_width + 2 * _GAP)
    sheet = np.full((_HEAD + rows * step_y, side), 255, np.uint8)
    cv2.putText(sheet, title, (_GAP, 18), _FONT, 0.5, 0, 1, cv2.LINE_AA)
    for place, (tile, line) in enumerate(zip(tiles, words, strict=True)):
        y, x = _HEAD + place // columns * step_y, _GAP + place % columns * step_x
        sheet[y : y + height, x : x + width] = tile
        cv2.putText(sheet, line, (x, y + height + 11), _FONT, 0.35, 0, 1, cv2.LINE_AA)
    return sheet


def _rows_sheet(samples: Samples, name: str, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    shown = _some(rows)
    title = (
        f"{samples.name}, {samples.protocol}: {name}, {len(shown)} of {len(rows)} samples "
        f"(chosen with seed {SEED}); below each: its number"
    )
    return contact_sheet(
        [_enlarged(samples.images[i]) for i in shown], [str(i + 1) for i in shown], title
    )


def _pairs_sheet(samples: Samples, near: NearPairs) -> NDArray[np.uint8]:
    shown = _some(np.arange(len(near.pairs)), 2)
    shown = shown[np.argsort(near.scores[shown], kind="stable")]
    tiles, words = [], []
    for pair in shown:
        i, j = near.pairs[pair]
        tiles.append(np.hstack([_enlarged(samples.images[row]) for row in (i, j)]))
        mirrored = " mirrored" if near.mirrored[pair] else ""
        words.append(f"{near.scores[pair]:.3f}{mirrored}  {i + 1}, {j + 1}")
    title = (
        f"{samples.name}: near duplicates, {len(shown)} of {len(near.pairs)} pairs "
        f"(chosen with seed {SEED}), the least similar first; below each: correlation, numbers"
    )
    return contact_sheet(tiles, words, title)


def _some(rows: NDArray[np.int64], tiles_each: int = 1) -> NDArray[np.int64]:
    """Choose as many rows as fit on a sheet, in ascending order."""
    room = _COLUMNS // tiles_each * _ROWS
    if len(rows) <= room:
        return rows
    return np.sort(np.random.default_rng(SEED).choice(rows, room, replace=False))


def _enlarged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # Whole pixels, unsmoothed: a sheet shall show what the model sees.
    return np.asarray(cv2.resize(image, (_TILE, _TILE), interpolation=cv2.INTER_NEAREST), np.uint8)


def _write(sheet: NDArray[np.uint8], path: Path) -> None:
    _, data = cv2.imencode(".png", sheet)
    write_atomically(path, lambda file: file.write(data.tobytes()))
