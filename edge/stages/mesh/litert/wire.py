"""A reader of protobuf's wire format: fields by number, enough for one known message.

Source: protobuf.dev, "Encoding". A message is a run of records, each a varint key (field number
and wire type) and a value.
"""

import re
from collections.abc import Iterator
from typing import Final

_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH: Final = 2
_FIXED32: Final = 5
_MAX_VARINT_BYTES: Final = 10


def fields(message: bytes, *, varints: bool = True) -> Iterator[tuple[int, int | bytes]]:
    """Yield ``(field number, value)`` of each record, in order; those of varints only if wanted.

    Varints come as int; strings, submessages, packed arrays and fixed-width numbers as their
    little-endian bytes. 32-bit numbers of one field, one after the other, come joined, as if they
    were packed: thousands of them are read at once.

    Raises:
        ValueError: the message is cut off, or uses a wire type that proto2 and proto3 do not.
    """
    at = 0
    while at < len(message):
        if joined := _run_of_fixed32(message, at):
            yield message[at] >> 3, bytes(joined)
            at += len(joined) // 4 * 5
            continue
        if not varints and (end := _end_of_varints(message, at)) > at:
            at = end
            continue
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            if varints:
                yield number, value
            continue
        size, at = _size(kind, message, at)
        if at + size > len(message):
            raise ValueError(f"field {number} has {size} bytes, {len(message) - at} are left")
        yield number, message[at : at + size]
        at += size


def _run_of_fixed32(message: bytes, at: int) -> bytearray:
    """Return the 32-bit values that begin at ``at``, each after the same key of one byte."""
    key = message[at : at + 1]
    if key[0] & 7 != _FIXED32 or key[0] >= 0x80:
        return bytearray()
    run = re.compile(b"(?:" + re.escape(key) + b".{4})+", re.DOTALL).match(message, at)
    values = bytearray(run.group() if run else b"")
    del values[::5]
    return values


def _end_of_varints(message: bytes, at: int) -> int:
    """Return where the varints that begin at ``at`` end, each after the same key of one byte."""
    key = message[at : at + 1]
    if key[0] & 7 != _VARINT or key[0] >= 0x80:
        return at
    run = re.compile(b"(?:" + re.escape(key) + rb"[\x80-\xff]{0,9}[\x00-\x7f])+", re.DOTALL)
    found = run.match(message, at)
    return found.end() if found else at


def _size(kind: int, message: bytes, at: int) -> tuple[int, int]:
    if kind == _LENGTH:
        return _varint(message, at)
    if kind == _FIXED32:
        return 4, at
    if kind == _FIXED64:
        return 8, at
    raise ValueError(f"wire type {kind} at byte {at}; expected 0, 1, 2 or 5")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number at ``at`` and where the next record's part begins."""
    value = 0
    for i, byte in enumerate(message[at : at + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise ValueError(f"no varint at byte {at}: cut off or too long")
