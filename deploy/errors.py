"""What can go wrong on the way to a device; ``edge.errors`` draws the whole tree."""

from edge.errors import EdgeEmoError


class DeployError(EdgeEmoError):
    """A device cannot be reached, does not suit, or did not take a release."""


class ConnectionLostError(DeployError):
    """Nothing more came from a device: whether it did what it was asked is not known."""
