"""Hostile TFLite files, before any runtime sees them."""

import contextlib
import functools
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.bundle import MODEL
from edge.inference.crash_guard import PACKAGED
from edge.inference.tflite.flatbuffer import MalformedError, read
from edge.inference.tflite.operators import OPERATORS
from edge.inference.tflite.verify import SCHEMA, check_tflite

FUSION = Path(__file__).parents[1] / "data" / "fusion.tflite"
CONTENT = FUSION.read_bytes()

Step = str | int


def place_of(content: bytes, *path: Step, table: str = "Model") -> int:
    """Where a field's own bytes lie: a number, or the offset of a string, vector or table.

    A whole number in the path goes into a vector.
    """
    place = struct.unpack_from("<I", content)[0]
    for i, (field, *index) in enumerate(split(path)):
        fields = SCHEMA[table]
        vtable = place - struct.unpack_from("<i", content, place)[0]
        slot = struct.unpack_from("<H", content, vtable + 4 + 2 * list(fields).index(field))[0]
        assert slot, f"{field} is left out"
        place += slot
        if index:
            start = place + struct.unpack_from("<I", content, place)[0] + 4
            kind = fields[field].strip("[]")
            width = np.dtype(kind).itemsize if kind.startswith("<") else 4
            place = start + width * index[0]
        table = fields[field].strip("[]")
        if i < len(split(path)) - 1:
            place += struct.unpack_from("<I", content, place)[0]
    return place


def split(path: tuple[Step, ...]) -> list[list[Any]]:
    """Group each field with the index that follows it."""
    parts: list[list[Any]] = []
    for step in path:
        parts[-1].append(step) if isinstance(step, int) else parts.append([step])
    return parts


def patched(*path: Step, value: int, width: str = "<i", content: bytes = CONTENT) -> bytes:
    """The file with another number at a field."""
    changed = bytearray(content)
    struct.pack_into(width, changed, place_of(content, *path), value)
    return bytes(changed)


def with_length(*path: Step, value: int) -> bytes:
    """The file with another length of a vector or string."""
    changed, place = bytearray(CONTENT), place_of(CONTENT, *path)
    struct.pack_into("<I", changed, place + struct.unpack_from("<I", CONTENT, place)[0], value)
    return bytes(changed)


MODEL_TREE = read(CONTENT, "Model", SCHEMA)
GRAPH = MODEL_TREE["subgraphs"][0]
NAMES = [
    OPERATORS[MODEL_TREE["operator_codes"][op.get("opcode_index", 0)]["builtin_code"]].name
    if "builtin_code" in MODEL_TREE["operator_codes"][op.get("opcode_index", 0)]
    else "ADD"
    for op in GRAPH["operators"]
]
CONVOLUTION = NAMES.index("CONV_2D")
WEIGHTS = int(GRAPH["operators"][CONVOLUTION]["inputs"][1])
AN_OPERATION = ("subgraphs", 0, "operators", CONVOLUTION)
THE_WEIGHTS = ("subgraphs", 0, "tensors", WEIGHTS)


@pytest.mark.parametrize(
    "content",
    [CONTENT, CONTENT + b"what an archive appends", (PACKAGED / MODEL).read_bytes()],
    ids=["fusion", "with more behind it", "packaged"],
)
def test_a_sound_model_passes(content):
    """A converted model is whole, whatever follows its flatbuffer."""
    assert check_tflite(content) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a TFLite file: starts with b''"),
        (b"\0" * 64, "not a TFLite file"),
        (CONTENT[:8], "lies outside the file|points to byte"),
        (CONTENT[: len(CONTENT) // 2], "points to|outside|more than the file holds"),
        (b"\xff\xff\xff\x7f" + CONTENT[4:], "the root points to byte 2147483647 of 7672"),
        (b"\0\0\0\0" + CONTENT[4:], "the root points to byte 0"),
        (patched("version", value=9), "schema version 9, expected 3"),
        (with_length("subgraphs", value=0), "0 graphs, expected 1"),
        (with_length("subgraphs", value=1 << 30), "claims 1,073,741,824 entries, more than"),
        (with_length("buffers", value=0xFFFFFFFF), "claims 4,294,967,295 entries"),
        (with_length(*THE_WEIGHTS, "name", value=1 << 31), "claims 2,147,483,648 entries"),
        (with_length(*THE_WEIGHTS, "shape", value=1 << 20), "claims 1,048,576 entries"),
        (patched(*AN_OPERATION, value=0), "points to byte"),
        (patched(*AN_OPERATION, "inputs", 0, value=99), "CONV_2D: tensor 99 of"),
        (patched(*AN_OPERATION, "inputs", 1, value=-1), "CONV_2D: tensor -1 of"),
        (patched(*AN_OPERATION, "outputs", 0, value=1 << 30), "CONV_2D: tensor 1073741824 of"),
        (patched("subgraphs", 0, "inputs", 0, value=-5), "an input of the model: tensor -5"),
        (patched("subgraphs", 0, "outputs", 0, value=1000), "an output of the model: tensor 1000"),
        (patched(*THE_WEIGHTS, "buffer", value=1 << 30), "has buffer 1073741824 of"),
        (patched(*THE_WEIGHTS, "shape", 0, value=1 << 30), "bytes of data for"),
        (patched(*THE_WEIGHTS, "shape", 0, value=-1), "dimensions, the least -1"),
        (patched(*THE_WEIGHTS, "type", value=5, width="<b"), "type 5, which is not supported"),
        (patched(*THE_WEIGHTS, "quantization", "scale", 0, value=0), "no positive number"),
        (
            patched(*THE_WEIGHTS, "quantization", "zero_point", 0, value=1 << 40, width="<q"),
            "zero points outside its type",
        ),
    ],
)
def test_a_file_that_does_not_hang_together_is_refused(content, message):
    """Cut off, out of range, beyond all measure: each is told in one line."""
    with pytest.raises(MalformedError, match=message) as caught:
        check_tflite(content)
    assert "\n" not in str(caught.value)


def test_weights_without_data_are_refused():
    """An int8 convolution whose weights are the empty buffer 0 would read what nobody wrote."""
    with pytest.raises(MalformedError, match=f"reads tensor {WEIGHTS}, which nothing has made"):
        check_tflite(patched(*THE_WEIGHTS, "buffer", value=0))


def test_an_operation_that_feeds_on_itself_is_refused():
    """Operations stand in the order of their computation, so none reads what comes later."""
    own = int(GRAPH["operators"][CONVOLUTION]["outputs"][0])
    with pytest.raises(MalformedError, match=f"reads tensor {own}, which nothing has made before"):
        check_tflite(patched(*AN_OPERATION, "inputs", 0, value=own))


def test_a_tensor_that_two_operations_write_is_refused():
    """Nor may an operation write into weights, or into what another made."""
    with pytest.raises(MalformedError, match=f"tensor {WEIGHTS} is made twice, or is a constant"):
        check_tflite(patched(*AN_OPERATION, "outputs", 0, value=WEIGHTS))


def changed_model(change: Callable[[Any], object]) -> bytes:
    """The file after a change to its objects, written again by flatbuffers' own builder."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(CONTENT, 0)
    change(model)
    builder = flatbuffers.Builder(len(CONTENT))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operation(model: Any) -> Any:
    return model.subgraphs[0].operators[CONVOLUTION]


def to_while(model: Any) -> None:
    """The first operation becomes a loop whose body is the graph that it stands in."""
    from ai_edge_litert import schema_py_generated as schema

    model.operatorCodes[operation(model).opcodeIndex].builtinCode = 119
    operation(model).builtinOptionsType = 93
    options = schema.WhileOptionsT()
    options.condSubgraphIndex = options.bodySubgraphIndex = 0
    operation(model).builtinOptions = options


def to_custom(model: Any) -> None:
    code = model.operatorCodes[operation(model).opcodeIndex]
    code.builtinCode, code.customCode = 32, "\x1b[2JEvil"


def many_tensors(model: Any) -> None:
    model.subgraphs[0].tensors *= 5000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model.subgraphs.append(model.subgraphs[0]), "2 graphs, expected 1"),
        (to_while, "has code 119, which is not supported"),
        (to_custom, r"has code 32 '\\x1b\[2JEvil', which is not supported"),
        (many_tensors, r"more than 50,000 tables"),
        (
            lambda model: setattr(operation(model).builtinOptions, "strideW", 0),
            "CONV_2D: a step of 0",
        ),
        (
            lambda model: setattr(operation(model).builtinOptions, "dilationHFactor", 1 << 30),
            "CONV_2D: a step of 1073741824",
        ),
        (
            lambda model: setattr(model.subgraphs[0].tensors[0], "shape", [30000, 30000]),
            "bytes, more than 536,870,912|bytes of data for",
        ),
        (
            lambda model: setattr(model.subgraphs[0].tensors[WEIGHTS].quantization, "scale", [1]),
            "1 scales, . zero points",
        ),
        (
            lambda model: setattr(
                model.subgraphs[0].tensors[WEIGHTS].quantization, "quantizedDimension", 7
            ),
            "scales along dimension 7",
        ),
        (lambda model: setattr(operation(model), "inputs", []), "CONV_2D: 0 inputs"),
        (lambda model: setattr(operation(model), "intermediates", [1]), "intermediates is not"),
        (lambda model: setattr(model.buffers[1], "offset", 1 << 40), "outside the flatbuffer"),
        (lambda model: setattr(model.subgraphs[0].tensors[0], "isVariable", True), "is_variable"),
        (
            lambda model: setattr(model.subgraphs[0].tensors[0], "name", "\x1b]0;x\x07"),
            "tensor 0 has a name that is no text",
        ),
    ],
)
def test_what_no_classifier_holds_is_refused(change, message):
    """Loops, custom code, external data, tricks with sizes: not even tried."""
    with pytest.raises(MalformedError, match=message):
        check_tflite(changed_model(change))


def test_the_same_bytes_many_times_are_refused():
    """A few bytes that thousands of tensors share cost no more time than as many bytes would."""
    vector = struct.pack("<I", 200) + b"x" * 200 + b"\0" * 4
    tables = 400
    # A vector of tables that all point to one long string.
    body = bytearray(struct.pack("<I", 16))  # the root, behind its vtable
    body += struct.pack("<HHHH", 6, 8, 4, 0) + b"\0" * 4
    body += struct.pack("<iI", 12, 4)  # table: vtable 12 bytes before, its vector right behind
    body += struct.pack("<I", tables)
    start = len(body)
    table_at = start + 4 * tables
    for i in range(tables):
        body += struct.pack("<I", table_at - (start + 4 * i))
    body += struct.pack("<iI", table_at - 4, 4) + vector
    schema = {"Root": {"parts": "[Part]"}, "Part": {"text": "string"}}
    with pytest.raises(MalformedError, match="one of many parts that are the same bytes"):
        read(bytes(body), "Root", schema)


@functools.cache
def structure() -> list[int]:
    """The places of all bytes that are no weights."""
    is_structure = np.ones(len(CONTENT), bool)
    base = np.frombuffer(CONTENT, np.uint8).__array_interface__["data"][0]
    for buffer in MODEL_TREE["buffers"]:
        data = buffer.get("data", np.empty(0, np.uint8))
        if len(data) > 64:
            start = data.__array_interface__["data"][0] - base
            is_structure[start : start + len(data)] = False
    return np.flatnonzero(is_structure).tolist()


@given(seed=st.integers(0, 1 << 32), changes=st.integers(1, 4))
def test_damage_is_reported_or_harmless(seed, changes):
    """Whatever is changed where it hurts: an answer, and no other exception."""
    rng, content = random.Random(seed), bytearray(CONTENT)
    for _ in range(changes):
        place = rng.choice(structure()) & ~3
        wild = (0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, rng.randrange(1 << 13))
        struct.pack_into("<I", content, place, rng.choice(wild))
    with contextlib.suppress(MalformedError):
        assert check_tflite(bytes(content)) is None
