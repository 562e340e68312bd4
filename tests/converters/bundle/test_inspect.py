import hashlib
import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

import edge
from converters.bundle.inspect import bundle_view, describe
from edge.contract.bundle import FILES, KNOWN, open_bundle


@pytest.fixture
def bundle():
    return open_bundle(Path(edge.__file__).parent / "models" / "default")


def test_a_description_is_what_lies_on_disk(bundle):
    """Sizes, hashes, metadata and tensors are those of the files, and golden outputs were run."""
    description = describe(bundle)
    assert [file.name for file in description.files] == list(KNOWN)
    for file in description.files:
        content = (bundle.path / file.name).read_bytes()
        assert file.size_bytes == len(content)
        assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert description.metadata == bundle.metadata
    assert description.input.shape == bundle.metadata.input.shape
    assert description.operations["CONV_2D"] > 0
    assert 0 < description.weights_bytes < len(bundle.model)
    assert description.golden_steps <= 1
    assert description.parity.size_bytes == len(bundle.model)


def test_a_description_is_json(bundle):
    """What `--json` writes can be read again, losing nothing."""
    description = describe(bundle)
    assert msgspec.json.decode(msgspec.json.encode(description), type=type(description)) == (
        description
    )


def test_the_table_shows_what_matters(bundle):
    """Rendered as plain text it names files, labels, operations, figures and the digest."""
    description = describe(bundle)
    console = Console(file=io.StringIO(), width=120)
    console.print(bundle_view(description))
    text = console.file.getvalue()
    for part in (
        *FILES,
        *bundle.metadata.labels,
        *description.operations,
        bundle.digest,
        f"{description.parity.comparison.tflite.accuracy:.2%}",
        bundle.metadata.training_run,
    ):
        assert part in text


def test_every_operation_is_told(bundle):
    """The operations in order, all int8, with weights by channel and every constant counted."""
    description = describe(bundle)
    entries = description.graph
    assert len(entries) == sum(description.operations.values())
    assert {entry.dtype for entry in entries} == {"INT8"}
    assert entries[-1].operation == "FULLY_CONNECTED"
    convolutions = [entry for entry in entries if entry.operation == "CONV_2D"]
    assert [entry.weight_scales for entry in convolutions] == [e.shape[-1] for e in convolutions]
    assert sum(entry.constant_bytes for entry in entries) >= description.weights_bytes
    console = Console(file=io.StringIO(), width=160)
    console.print(bundle_view(description, every_operation=True))
    assert "stem_relu" in console.file.getvalue()
