"""What a live source is allowed: the one setting that whoever opens sources must know."""

import msgspec


class WatchLimits(msgspec.Struct, frozen=True):
    """How long pictures may be like that before the camera counts as lost; 0 means for ever.

    Attributes:
        frozen_s: seconds of one and the same picture, to the bit.
        black_s: seconds without anything brighter than video's black level.
    """

    frozen_s: float = 30.0
    black_s: float = 30.0
