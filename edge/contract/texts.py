"""Texts that a bundle may hold: they end up on terminals."""

from typing import Annotated, Final

import msgspec

_PRINTABLE: Final = r"^[^\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]*\Z"
"""No control characters."""

Text = Annotated[str, msgspec.Meta(pattern=_PRINTABLE, max_length=1000)]
NonEmptyText = Annotated[str, msgspec.Meta(pattern=_PRINTABLE, min_length=1, max_length=1000)]
