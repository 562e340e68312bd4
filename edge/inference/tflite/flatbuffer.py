"""Reading flatbuffers that nobody vouches for: a value is returned only if it lies in the file.

The Python package of flatbuffers has no verifier, and a device has not even that package. ``read``
walks a whole file by a schema and checks what the verifier of the C++ library checks: every offset,
vtable, vector and string lies inside, and is aligned. Offsets point forward only, so there are no
circles; parts that many others refer to are paid for each time, from a budget that a sound file
never exhausts. https://flatbuffers.dev/internals tells the format.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

Schema = Mapping[str, Mapping[str, str]]
"""Tables by name; of each the fields in the order of their slots, by name.

A field is a numpy dtype (``<i4``), ``string``, ``[<i4]`` (a vector of numbers), ``Name`` (a table
of the schema), ``[Name]`` (a vector of tables), ``fields`` (a table that is read as ``Fields``), or
``union FIELD``: the table ``FIELD N``, N being the number in an earlier field, or ``Fields`` where
the schema has none of that name.
"""

_MOST_TABLES: Final = 50_000
_TIMES_READ: Final = 4
"""How often the bytes of a file may be read on average; a sound file's are read once."""
_FIELDS: Final = "fields"
_OFFSET: Final = struct.Struct("<I")
_WIDEST: Final = 8


class MalformedError(ValueError):
    """The bytes are not what they should be; says what is wrong in a few words."""


class Fields:
    """The numbers of a table whose meaning is left to the caller; all lie in the file."""

    def __init__(self, content: bytes, slots: tuple[int, ...]) -> None:
        self._content = content
        self._slots = slots

    def has(self, slot: int) -> bool:
        """Tell whether there is anything at a slot."""
        return slot < len(self._slots) and self._slots[slot] != 0

    def number(self, slot: int, default: int = 0) -> int:
        """Return the int32 at a slot, or ``default`` where it is left out."""
        if not self.has(slot):
            return default
        return int(np.frombuffer(self._content, "<i4", 1, self._slots[slot])[0])


def read(content: bytes, root: str, schema: Schema) -> dict[str, Any]:
    """Return the root table of a flatbuffer, with all that hangs on it.

    Args:
        content: the file; more may follow the flatbuffer.
        root: the name of the root's table.
        schema: the tables; slots beyond those it names are left alone.

    Returns:
        The fields by name, without those that are left out: numbers, ``bytes`` for strings, arrays
        (views of ``content``) for vectors of numbers, dictionaries for tables.

    Raises:
        MalformedError: something lies outside the file, or the budget is used up.
    """
    reader = _Reader(content, schema)
    return reader.table(reader.target(0, "the root"), root)


class _Reader:
    def __init__(self, content: bytes, schema: Schema) -> None:
        self._content = content
        self._schema = schema
        self._tables_left = _MOST_TABLES
        self._bytes_left = _TIMES_READ * len(content)

    def table(self, place: int, name: str) -> dict[str, Any]:
        """Return the table at a place."""
        slots, end = self._layout(place, name)
        fields: dict[str, Any] = {}
        for slot, (field, kind) in zip(slots, self._schema[name].items(), strict=False):
            if slot:
                known = _resolved(kind, fields, self._schema)
                fields[field] = self._value(slot, known, f"{name}.{field}", end)
        return fields

    def target(self, place: int, what: str) -> int:
        """Follow the offset at a place; it leads forward."""
        self._check(place, 4, what, align=4)
        offset: int = _OFFSET.unpack_from(self._content, place)[0]
        target = place + offset
        if offset == 0 or target > len(self._content) - 4:
            raise MalformedError(f"{what} points to byte {target} of {len(self._content)}")
        return target

    def _value(self, place: int, kind: str, what: str, end: int) -> Any:
        if kind.startswith("<"):
            dtype = np.dtype(kind)
            if place + dtype.itemsize > end:
                raise MalformedError(f"{what} reaches beyond its table")
            self._check(place, dtype.itemsize, what, align=dtype.itemsize)
            return np.frombuffer(self._content, dtype, 1, place)[0].item()
        if place + 4 > end:
            raise MalformedError(f"{what} reaches beyond its table")
        target = self.target(place, what)
        if kind == "string":
            return self._string(target, what)
        if kind == _FIELDS:
            return self._fields(target, what)
        if kind.startswith("["):
            return self._vector(target, kind[1:-1], what)
        return self.table(target, kind)

    def _vector(self, place: int, kind: str, what: str) -> Any:
        if kind.startswith("<"):
            dtype = np.dtype(kind)
            count = self._count(place, dtype.itemsize, what)
            if count and (place + 4) % dtype.itemsize:
                raise MalformedError(f"{what} is not aligned")
            return np.frombuffer(self._content, dtype, count, place + 4)
        places = [place + 4 + 4 * i for i in range(self._count(place, 4, what))]
        return [self.table(self.target(at, what), kind) for at in places]

    def _string(self, place: int, what: str) -> bytes:
        end = place + 4 + self._count(place, 1, what)
        if self._content[end : end + 1] != b"\0":
            raise MalformedError(f"{what} is a string without an end")
        return self._content[place + 4 : end]

    def _fields(self, place: int, what: str) -> Fields:
        slots, _ = self._layout(place, what)
        if max(slots, default=0) + _WIDEST > len(self._content):
            raise MalformedError(f"{what} reaches beyond the file")
        return Fields(self._content, slots)

    def _layout(self, place: int, what: str) -> tuple[tuple[int, ...], int]:
        """Return where the fields of a table lie, 0 for those left out, and where it ends."""
        self._tables_left -= 1
        if self._tables_left < 0:
            raise MalformedError(f"more than {_MOST_TABLES:,} tables")
        self._check(place, 4, what, align=4)
        vtable = place - struct.unpack_from("<i", self._content, place)[0]
        self._check(vtable, 4, f"the vtable of {what}", align=2)
        size, table_size = struct.unpack_from("<HH", self._content, vtable)
        if size < 4 or size % 2 or table_size < 4:
            raise MalformedError(f"the vtable of {what} has {size} bytes for {table_size}")
        self._check(vtable, size, f"the vtable of {what}", align=2)
        self._check(place, table_size, what, align=4)
        self._spend(size, what)
        offsets = struct.unpack_from(f"<{size // 2 - 2}H", self._content, vtable + 4)
        if any(offset and not 4 <= offset < table_size for offset in offsets):
            raise MalformedError(f"a field of {what} lies outside it")
        return tuple(place + offset if offset else 0 for offset in offsets), place + table_size

    def _count(self, place: int, itemsize: int, what: str) -> int:
        """Return the length of a vector, all of which lies in the file."""
        self._check(place, 4, what, align=4)
        count: int = _OFFSET.unpack_from(self._content, place)[0]
        if count * itemsize > len(self._content) - place - 4:
            raise MalformedError(f"{what} claims {count:,} entries, more than the file holds")
        self._spend(count * itemsize, what)
        return count

    def _check(self, place: int, size: int, what: str, align: int) -> None:
        if place < 0 or place + size > len(self._content):
            raise MalformedError(f"{what} lies outside the file")
        if place % align:
            raise MalformedError(f"{what} is not aligned")

    def _spend(self, count: int, what: str) -> None:
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise MalformedError(f"{what} is one of many parts that are the same bytes")


def _resolved(kind: str, fields: Mapping[str, Any], schema: Schema) -> str:
    if not kind.startswith("union "):
        return kind
    chosen = kind.removeprefix("union ")
    name = f"{chosen} {fields.get(chosen, 0)}"
    return name if name in schema else _FIELDS
