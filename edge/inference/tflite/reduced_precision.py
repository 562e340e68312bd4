"""Asking XNNPACK for half precision: an entry of metadata, added to a float model in memory.

A TFLite file may say that its network bears being computed in half precision; the entry's name and
value are those of TensorFlow's ``reduced_precision_metadata.h``. XNNPACK then computes so where the
processor can, in half the bytes and twice the lanes; elsewhere nothing changes.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_KEY: Final = b"reduced_precision_support"
_VALUE: Final = b"fp16accfp16"
"""Half precision for the operands and for the sums."""

_BUFFERS: Final = 4
_METADATA: Final = 6
_SLOTS: Final = 8
"""Of the table ``Model`` in TFLite's schema.fbs; both named ones are vectors of tables."""

_ROOT: Final = 7
_VECTORS: Final = 16
"""Where the new front has the root table and its vectors, in words of four bytes."""
_BUFFER, _ENTRY, _DATA, _NAME, _END = 2, 6, 11, 16, 24
"""And in words from behind the vectors: the tables, each after its vtable, and the texts that they
lead to, the value on a boundary of 16 bytes."""
_BLOCK: Final = 16
"""Both parts are a multiple of so many words, which keeps the model behind them aligned."""


def with_half_precision(model: bytes) -> bytes:
    """Return a model that may be computed in half precision.

    A flatbuffer's parts find each other by distances, which lead forward. So the model stays as it
    is behind a new root, which has one buffer and one entry of metadata more.

    Args:
        model: a sound ``.tflite`` file: its offsets are trusted.
    """
    old = np.frombuffer(model, "<u4", len(model) // 4)
    slots = _slots(old)
    buffers, entries = _targets(old, slots[_BUFFERS]), _targets(old, slots[_METADATA])
    buffers_at, entries_at = _VECTORS, _VECTORS + len(buffers) + 2
    tail = _rounded(entries_at + len(entries) + 2)
    size = tail + _rounded(_END)
    front = np.zeros(size, "<u4")
    front[:2] = 4 * _ROOT, old[1]
    present = [bool(place) or slot in {_BUFFERS, _METADATA} for slot, place in enumerate(slots)]
    _vtable(front, _ROOT, [4 * (i + 1) * there for i, there in enumerate(present)])
    _tables(front, buffers_at, [*(size + place for place in buffers), tail + _BUFFER])
    _tables(front, entries_at, [*(size + place for place in entries), tail + _ENTRY])
    _vtable(front, tail + _BUFFER, [4])
    _point(front, tail + _BUFFER + 1, tail + _DATA)
    _vtable(front, tail + _ENTRY, [4, 8])
    _point(front, tail + _ENTRY + 1, tail + _NAME)
    front[tail + _ENTRY + 2] = len(buffers)
    _text(front, tail + _DATA, _VALUE)
    _text(front, tail + _NAME, _KEY)
    moved = {_BUFFERS: buffers_at, _METADATA: entries_at}
    front[_ROOT + 1] = old[slots[0]] if slots[0] else 0  # the version, the one field by value
    for slot, place in enumerate(slots[1:], 1):
        if slot in moved or place:
            _point(front, _ROOT + 1 + slot, moved.get(slot, size + _target(old, place)))
    return front.tobytes() + model


def _rounded(words: int) -> int:
    return -(-words // _BLOCK) * _BLOCK


def _slots(words: NDArray[np.uint32]) -> list[int]:
    """Return where the root table's fields are, in words, 0 for those left out."""
    root = int(words[0])
    vtable = root - int(words.view("<i4")[root // 4])
    halves = words.view("<u2")[vtable // 2 :]
    places = [(root + int(at)) // 4 if at else 0 for at in halves[2 : int(halves[0]) // 2]]
    return (places + [0] * _SLOTS)[:_SLOTS]


def _target(words: NDArray[np.uint32], place: int) -> int:
    return place + int(words[place]) // 4


def _targets(words: NDArray[np.uint32], place: int) -> list[int]:
    """Return where the tables of the vector are that the field at ``place`` leads to."""
    if not place:
        return []
    vector = _target(words, place)
    return [_target(words, vector + 1 + i) for i in range(int(words[vector]))]


def _vtable(front: NDArray[np.uint32], table: int, offsets: list[int]) -> None:
    """Put a vtable right before a table."""
    halves = [4 + 2 * len(offsets), 4 + 4 * len(offsets), *offsets]
    words = (len(halves) + 1) // 2
    front[table] = 4 * words
    at = 2 * (table - words)
    front.view("<u2")[at : at + len(halves)] = halves


def _text(front: NDArray[np.uint32], at: int, text: bytes) -> None:
    front[at] = len(text)
    front.view("u1")[4 * at + 4 : 4 * at + 4 + len(text)] = np.frombuffer(text, np.uint8)


def _tables(front: NDArray[np.uint32], at: int, targets: list[int]) -> None:
    front[at] = len(targets)
    for i, target in enumerate(targets, at + 1):
        _point(front, i, target)


def _point(front: NDArray[np.uint32], place: int, target: int) -> None:
    front[place] = 4 * (target - place)
