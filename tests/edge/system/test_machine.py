"""What a machine tells about itself, put into words."""

import pytest

from edge.system.machine import throttling


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        ("0", ()),
        ("0x0", ()),
        ("1", ("under-voltage",)),
        ("0x50005", ("under-voltage", "throttled")),
        ("50000", ("under-voltage earlier", "throttled earlier")),
        ("0xe0008", ("too hot", "frequency capped earlier", "throttled earlier")),
        ("\x1b[31m", ("unknown ('\\x1b[31m')",)),
    ],
)
def test_throttling_bits_in_words(bits, words):
    """Each bit by the Raspberry Pi documentation: what is so now, and what was only earlier."""
    assert throttling(bits) == words
