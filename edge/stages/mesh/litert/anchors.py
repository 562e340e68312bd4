"""The anchors of BlazeFace short range (Bazarevsky et al. 2019, arXiv 1907.05047, section 3.2)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_GRIDS: Final = ((16, 2), (8, 6))
"""Cells a side and anchors a cell: two on the 16x16 feature map, six on the 8x8 one."""


def blazeface_anchors() -> NDArray[np.float32]:
    """Return the anchors' centres, float32 ``(896, 2)``: x, y as a fraction of the model's input.

    Rows first, then columns, then the anchors of a cell, which all lie in its middle; their size is
    fixed at the whole input, so that boxes are regressed in input pixels.
    """
    grids = []
    for cells, anchors in _GRIDS:
        centres = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        y, x = np.meshgrid(centres, centres, indexing="ij")
        grids.append(np.repeat(np.stack((x, y), axis=-1).reshape(-1, 2), anchors, axis=0))
    return np.concatenate(grids)
