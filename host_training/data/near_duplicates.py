"""Near duplicates: the same shot again, shifted, mirrored, relit, recompressed or stamped.

Two steps. All pairs are compared by a coarse descriptor, as blocks of one matrix product; the few
that are left are compared as they are: by the normalised cross-correlation (Lewis, "Fast normalized
cross-correlation", 1995) of their band-passed pixels, the best over all shifts of up to
``MAX_SHIFT`` pixels. The band-pass takes away light and shade, which all faces share, and the
pixels' noise. Whether two pictures are near depends on those two alone, not on the data set.

On FER2013 the second score has two modes, about 0.55 for different shots that are alike and about
0.97 for the same one, with the valley near 0.85. In CK+48, whose pictures are all framed and lit
alike, pairs of different people reach 0.92. At 0.9, 98 % of the pairs found in CK+48 are of one
person, 99 % of its pairs of neighbouring frames are found, and 60 of 60 pairs of FER2013 were the
same shot by eye; about a sixth of those that would be right at 0.85 are given up for that.

What is found, of 1,500 pictures of FER2013 with noise of 3 grey levels and 80 % of the contrast:
shifted by (1, 1) 99.9 %, (2, 0) 99.7 %, (2, 2) 85 %, (3, 0) 57 %; enlarged by 3 % 100 %, by 6 %
50 %; turned by 2 degrees 100 %, by 4 degrees 83 %.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from host_training.data.samples import first_rows

THRESHOLD: Final = 0.9
"""Pairs that correlate so much are near duplicates."""
MAX_SHIFT: Final = 3
"""Pixels by which one of them may be shifted, in each direction."""

_SIDE: Final = 12
_COARSE: Final = (3.0, 8.0)
"""The descriptor: ``_SIDE`` x ``_SIDE`` samples of a band of coarse detail (standard deviations, in
pixels, of the blurs whose difference it is). Coarse, so that it survives a shift of 2 pixels.
"""
_CANDIDATE: Final = 0.8
"""Descriptors that correlate less are not looked at closely. On FER2013 that leaves about 138,000
of 455 million pairs, and 96 % of the near duplicates that a search by another descriptor found."""
_FINE: Final = (0.8, 6.0)
"""The band that is compared closely."""
_BLOCK: Final = 2048
_FLAT: Final = 1e-3
"""Grey levels: a band that varies less is a flat picture, which is like no other."""


@dataclass(frozen=True, slots=True, eq=False)
class NearPairs:
    """Pairs of pictures that differ.

    Attributes:
        pairs: int64 ``(m, 2)``: rows, the lower one first; of equal pictures the first one stands
            for all.
        scores: float32 ``(m,)``: how much they correlate, from ``THRESHOLD`` to 1.
        mirrored: bool ``(m,)``: one of them is the other's mirror image.
    """

    pairs: NDArray[np.int64]
    scores: NDArray[np.float32]
    mirrored: NDArray[np.bool_]


def near_pairs(images: NDArray[np.uint8]) -> NearPairs:
    """Find the near duplicates among pictures.

    Args:
        images: uint8 ``(n, 48, 48)``, grey.

    Returns:
        Each pair once, in ascending order of the rows.
    """
    first = np.unique(first_rows(images))
    distinct = images[first]
    mirrors = np.ascontiguousarray(distinct[:, :, ::-1])
    descriptors = _descriptors(distinct)
    plain = _confirmed(distinct, distinct, _candidates(descriptors, descriptors))
    mirrored = _confirmed(distinct, mirrors, _candidates(descriptors, _descriptors(mirrors)))
    pairs = np.concatenate((plain[0], mirrored[0]))
    scores = np.concatenate((plain[1], mirrored[1]))
    is_mirrored = np.arange(len(pairs)) >= len(plain[0])
    # A symmetric picture may be near both ways; the better one is told.
    order = np.lexsort((-scores, pairs[:, 1], pairs[:, 0]))
    _, best = np.unique(pairs[order], axis=0, return_index=True)
    kept = order[best]
    return NearPairs(first[pairs[kept]], scores[kept], is_mirrored[kept])


def near_to(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which pictures are near duplicates of one of some others, or equal to one.

    The same as to look for the pairs of ``near_pairs(images + others)`` that lie across, at the
    cost of those across alone.

    Args:
        images: uint8 ``(n, 48, 48)``, grey.
        others: uint8 ``(m, 48, 48)``, grey.

    Returns:
        bool ``(n,)``.
    """
    rows = first_rows(images)
    first = np.unique(rows)
    distinct, others = images[first], others[np.unique(first_rows(others))]
    descriptors = _descriptors(distinct)
    near = np.zeros(len(images), bool)
    for those in (others, np.ascontiguousarray(others[:, :, ::-1])):
        across = _candidates(descriptors, _descriptors(those), across=True)
        near[first[_confirmed(distinct, those, across)[0][:, 0]]] = True
    return near[rows]


def groups_of(pairs: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return int64 ``(n,)``: a group number for each picture; pairs, and pairs of pairs, share one.

    Args:
        pairs: int64 ``(m, 2)``, indices below ``n``.
        n: the number of pictures.
    """
    root = list(range(n))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for i, j in pairs.tolist():
        a, b = find(i), find(j)
        root[max(a, b)] = min(a, b)
    return np.array([find(i) for i in range(n)], np.int64)


def _descriptors(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return float32 ``(n, 144)``: rows of mean 0 and length 1, or 0 for flat pictures."""
    coarse = np.empty((len(images), _SIDE * _SIDE), np.float32)
    for i, image in enumerate(images):
        band = _band(image, _COARSE)
        coarse[i] = cv2.resize(band, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).ravel()
    coarse -= coarse.mean(axis=1, keepdims=True)
    length = np.linalg.norm(coarse, axis=1, keepdims=True)
    flat = np.zeros_like(coarse)
    return np.asarray(np.divide(coarse, length, out=flat, where=length > _FLAT), np.float32)


def _band(image: NDArray[np.uint8], blurs: tuple[float, float]) -> NDArray[np.float32]:
    pixels = image.astype(np.float32)
    fine, coarse = (
        cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) for sigma in blurs
    )
    return np.asarray(fine - coarse, np.float32)


def _candidates(
    one: NDArray[np.float32], other: NDArray[np.float32], *, across: bool = False
) -> NDArray[np.int64]:
    """Return the pairs ``(m, 2)`` whose descriptors are similar.

    Of one set of pictures each pair comes once, lower index first; ``across`` two sets all do.
    """
    found = [np.empty((0, 2), np.int64)]
    for a in range(0, len(one), _BLOCK):
        for b in range(0 if across else a, len(other), _BLOCK):
            similar = one[a : a + _BLOCK] @ other[b : b + _BLOCK].T
            i, j = np.nonzero(similar >= _CANDIDATE)
            pairs = np.stack((i + a, j + b), axis=1)
            found.append(pairs if across else pairs[pairs[:, 0] < pairs[:, 1]])
    return np.concatenate(found)


def _confirmed(
    one: NDArray[np.uint8], other: NDArray[np.uint8], candidates: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the candidates that are near duplicates, and their scores."""
    left = {i: _band(one[i], _FINE) for i in np.unique(candidates[:, 0]).tolist()}
    right = {j: _band(other[j], _FINE) for j in np.unique(candidates[:, 1]).tolist()}
    scores = np.fromiter(
        (_correlation(left[i], right[j]) for i, j in candidates.tolist()),
        np.float32,
        len(candidates),
    )
    return candidates[scores >= THRESHOLD], scores[scores >= THRESHOLD]


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the best correlation over all shifts of the middle of one band within another."""
    middle = slice(MAX_SHIFT, -MAX_SHIFT)
    inner = other[middle, middle]
    if min(np.ptp(inner), np.ptp(one[middle, middle])) < _FLAT:
        return 0.0
    return float(cv2.matchTemplate(one, inner, cv2.TM_CCOEFF_NORMED).max())
