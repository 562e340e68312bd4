"""What can go wrong on the way to a bundle; ``edge.errors`` draws the whole tree."""

from edge.errors import EdgeEmoError


class ConversionError(EdgeEmoError):
    """A model does not convert, or what came out does not meet the gate."""
