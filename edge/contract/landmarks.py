"""Which points of the 478-point mesh draw which part of a face.

Indices as published with MediaPipe's canonical face model; "right" and "left" are the subject's.
"""

from typing import Final

FACE_OVAL: Final = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""From the top of the forehead, clockwise in the picture."""

RIGHT_EYE: Final = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
"""From the outer corner along the lower lid."""
LEFT_EYE: Final = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
"""From the outer corner along the lower lid."""

RIGHT_BROW: Final = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
"""The upper edge from the outer end, then the lower edge back."""
LEFT_BROW: Final = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
"""The upper edge from the outer end, then the lower edge back."""

LIPS_OUTER: Final = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
)  # fmt: skip
"""From the right corner along the lower lip."""
LIPS_INNER: Final = (
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
)  # fmt: skip
"""From the right corner along the lower lip."""

RIGHT_IRIS: Final = (469, 470, 471, 472)
LEFT_IRIS: Final = (474, 475, 476, 477)

NOSE_BRIDGE: Final = (168, 6, 197, 195, 5, 4)
"""From between the eyes to the tip; an open line."""
NOSE_BASE: Final = (98, 97, 2, 326, 327)
"""From nostril to nostril; an open line."""

CONTOURS: Final = (
    FACE_OVAL, RIGHT_EYE, LEFT_EYE, RIGHT_BROW, LEFT_BROW, LIPS_OUTER, LIPS_INNER,
    RIGHT_IRIS, LEFT_IRIS,
)  # fmt: skip
"""The closed lines."""
LINES: Final = (NOSE_BRIDGE, NOSE_BASE)
"""The open lines."""
