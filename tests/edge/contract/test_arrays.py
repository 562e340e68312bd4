"""Arrays that came with a stranger's bundle: whatever the file is, one line, and no memory."""

import io
import struct
import zipfile

import numpy as np
import pytest

from edge.contract.arrays import read_arrays
from edge.contract.bundle import GOLDEN, open_bundle
from edge.contract.rehearsal import decode_rehearsal
from edge.errors import BundleError
from edge.inference.golden import compare_golden


def packed(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def member(content: bytes, name: str = "logits.npy") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        archive.writestr("answers.npy", content)
        archive.writestr("outputs.npy", content)
        archive.writestr("crops.npy", content)
    return file.getvalue()


def npy(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


def changed(offset: int, value: int) -> bytes:
    """Return a whole file with a 16-bit field of its members' headers changed."""
    content = bytearray(WHOLE)
    for signature, place in ((b"PK\x03\x04", offset), (b"PK\x01\x02", offset + 2)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            content[at + place : at + place + 2] = struct.pack("<H", value)
    return bytes(content)


ZEROS = np.zeros((4, 2), np.float16)
WHOLE = packed(logits=ZEROS, answers=np.zeros(4, np.uint8), crops=ZEROS, outputs=ZEROS)
DESCRIPTION = b"{'descr': '<f2', 'fortran_order': False, 'shape': (%s,), }"
UNREADABLE = {
    "nothing": b"",
    "no zip": b"x" * 1000,
    "cut": WHOLE[:-40],
    "a byte changed": WHOLE[:70] + bytes([WHOLE[70] ^ 255]) + WHOLE[71:],
    "a bare array": WHOLE[:0] + npy(DESCRIPTION % b"0"),
    "encrypted": changed(6, 1),
    "compressed in a way that is not known": changed(8, 99),
    "a thousand times its size": packed(logits=np.zeros(100 << 20, np.uint8)),
    "an array beyond all memory": member(npy(DESCRIPTION % b"1000000000000000")),
    "an array of 2^63": member(npy(DESCRIPTION % b"9223372036854775807")),
    "a negative array": member(npy(DESCRIPTION % b"-5")),
    "a header that nests": member(npy(b"{'descr': " + b"[" * 9000)),
    "a header of code": member(npy(b"__import__('os').system('true')")),
    "no array": member(b"text"),
    "objects": packed(logits=np.array([{}], object), crops=np.array([{}], object)),
}
"""Content of which no array can be had."""
OF_OTHER_KINDS = {
    name: packed(logits=values, answers=values, scale=values, crops=values, outputs=values)
    for name, values in {
        "text": np.array([["a"] * 2] * 4),
        "times": np.zeros((4, 2), "datetime64[s]"),
        "complex numbers": np.zeros((4, 2), complex),
        "records": np.zeros(4, [("a", "f4")]),
        "a single number": np.float32(1),
        "nothing": np.zeros((0, 2), np.float32),
        "nine dimensions": np.zeros((1,) * 9, np.float32),
    }.items()
} | {"others": packed(other=ZEROS), "none": packed()}
"""Arrays that neither fit a network nor can be computed with."""


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_no_file_of_arrays_is_one_error(content):
    """Damaged, crafted or of another kind: always the same error, with a reason."""
    with pytest.raises(ValueError, match=r"\S"):
        read_arrays(content, 1 << 20)


def test_a_whole_file_is_read():
    """All its arrays, by name."""
    arrays = read_arrays(WHOLE, 1 << 20)
    assert set(arrays) == {"logits", "answers", "crops", "outputs"}
    assert arrays["logits"].shape == (4, 2)


HOSTILE = UNREADABLE | {f"arrays: {name}": content for name, content in OF_OTHER_KINDS.items()}


HOSTILE_SCALES = {
    f"scale: {scale}": packed(
        logits=ZEROS.astype(np.uint8), answers=ZEROS[:, 0].astype(np.uint8), scale=scale
    )
    for scale in (
        np.array(["a", "b"]),
        np.zeros(2, complex),
        np.float32([np.nan, 1]),
        np.float32(1),
    )
}
HOSTILE_REHEARSAL = HOSTILE | HOSTILE_SCALES


@pytest.mark.parametrize("content", HOSTILE_REHEARSAL.values(), ids=HOSTILE_REHEARSAL.keys())
def test_a_hostile_rehearsal_set_is_one_line(content):
    """And names the file."""
    with pytest.raises(BundleError, match=r"rehearsal\.npz: ") as caught:
        decode_rehearsal(content, 2, "bundle/rehearsal.npz")
    assert "\n" not in str(caught.value)


CROPS = np.zeros((4, 48, 48), np.uint8)
HOSTILE_OUTPUTS = {
    f"outputs: {values.dtype}": packed(crops=CROPS, outputs=values)
    for values in (np.array([["a"] * 8] * 4), np.zeros((4, 8), "m8[s]"), np.zeros((4, 8), complex))
}
HOSTILE_GOLDEN = HOSTILE | HOSTILE_OUTPUTS


@pytest.mark.parametrize("content", HOSTILE_GOLDEN.values(), ids=HOSTILE_GOLDEN.keys())
def test_hostile_golden_vectors_are_one_line(alter_bundle, content):
    """And name the file."""
    path = alter_bundle(**{GOLDEN: content})
    with pytest.raises(BundleError, match=r"golden\.npz: ") as caught:
        compare_golden(open_bundle(path))
    assert "\n" not in str(caught.value)
