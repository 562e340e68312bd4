"""Which lines are records, for SQL: the bounds of the record classes, asked of DuckDB."""

from collections.abc import Iterator
from typing import Final, cast, get_args

import msgspec
from msgspec import inspect

from edge.contract.logrecord import KIND, Header, LogRecord

_FIRST_DAY: Final = "1970-01-01"
"""A board without a clock begins there."""
_LAST_DAY: Final = "2200-01-01"
_HEADER: Final = frozenset(field.name for field in msgspec.structs.fields(Header))


_FORMS: Final = [
    cast("inspect.StructType", inspect.type_info(kind)) for kind in get_args(LogRecord)
]
_KINDS: Final = ", ".join(f"'{form.tag}'" for form in _FORMS)


def condition(columns: frozenset[str]) -> str:
    """Return the condition under which a row is a record, made from its scalar ``columns``.

    A kind that is known, a time that can be, numbers within bounds, and nothing missing that the
    kind has.
    """
    terms = [f"kind IN ({_KINDS})", _header(columns)]
    for form in _FORMS:
        own = [field for field in form.fields if field.name in columns - _HEADER]
        if held := [term for field in own for term in _terms(field)]:
            terms.append(f"(kind <> '{form.tag}' OR ({' AND '.join(held)}))")
    return " AND ".join(terms)


def is_of_unknown_kind(columns: frozenset[str]) -> str:
    """Return the condition under which a row is a record of a kind that is not known here."""
    return f"kind NOT IN ({_KINDS}) AND regexp_full_match(kind, '{KIND}') AND {_header(columns)}"


def _header(columns: frozenset[str]) -> str:
    """Return what must hold of every record."""
    header = [field for field in _FORMS[0].fields if field.name in _HEADER & columns - {"time"}]
    return " AND ".join(
        (
            f"time >= TIMESTAMP '{_FIRST_DAY}' AND time < TIMESTAMP '{_LAST_DAY}'",
            *(term for field in header for term in _terms(field)),
        )
    )


def _terms(field: inspect.Field) -> Iterator[str]:
    """Yield what must hold of a field."""
    form, name = field.type, field.name
    if isinstance(form, inspect.UnionType):
        (form,) = (one for one in form.types if not isinstance(one, inspect.NoneType))
        bounds = _bounds(name, form)
        if bounds:
            yield f"({name} IS NULL OR {bounds})"
    elif field.required:
        yield _bounds(name, form) or f"{name} IS NOT NULL"
    elif bounds := _bounds(name, form):
        yield f"({name} IS NULL OR {bounds})"


def _bounds(name: str, form: inspect.Type) -> str:
    """Return what must hold of a number; it is false of NaN, and unknown of what is missing."""
    if isinstance(form, inspect.IntType | inspect.FloatType):
        return f"{name} BETWEEN {form.ge} AND {form.le}"
    return ""
