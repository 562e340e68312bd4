"""The root of the error tree; ``edge.errors`` draws the whole of it."""

from typing import ClassVar


class EdgeEmoError(Exception):
    """Anything edgeemo reports to its user as one line, with an exit code.

    The message says what went wrong, what was received, what was expected and the remedy.
    """

    exit_code: ClassVar[int] = 1


class BundleError(EdgeEmoError):
    """A model bundle is missing, damaged, or does not fit the model in it."""


class LabelError(EdgeEmoError):
    """An emotion name or number that edgeemo does not know."""


class MissingExtraError(EdgeEmoError):
    """A command needs a library that is not installed; the message names the extra with it."""

    exit_code: ClassVar[int] = 2
