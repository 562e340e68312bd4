"""What can go wrong on the workstation; ``edge.errors`` draws the whole tree."""

from edge.errors import EdgeEmoError


class DataError(EdgeEmoError):
    """A data set's file is missing, damaged, or does not fit what it is used for."""


class TrainingError(EdgeEmoError):
    """A training run cannot start, go on, or be read."""
