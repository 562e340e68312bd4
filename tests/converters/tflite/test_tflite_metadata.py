import io
import zipfile

import numpy as np
import pytest

from converters.errors import ConversionError
from converters.tflite import metadata
from converters.tflite.flatbuffer import check_full_int8, read_graph, tflite_schema
from converters.tflite.metadata import FileMetadata, describe_file, read_file_metadata
from edge.contract.labels import EMOTIONS
from edge.inference.interpreter import TfliteModel


@pytest.fixture(scope="module")
def described(int8_content):
    return describe_file(int8_content, read_graph(int8_content), "tiny", "tells faces", EMOTIONS)


def test_what_is_written_is_what_is_read(described, int8_content):
    """Name, labels and normalisation come back; a file without metadata says nothing."""
    assert read_file_metadata(described) == FileMetadata(
        name="tiny",
        description="tells faces",
        labels=EMOTIONS,
        output="probabilities",
        mean=0.0,
        std=1.0,
    )
    assert read_file_metadata(int8_content) is None


def test_the_network_stays_the_same(described, int8_content, evaluation_rows):
    """The runtime loads the file with its appended labels, and computes the same bits."""
    before, after = TfliteModel(int8_content), TfliteModel(described)
    check_full_int8(read_graph(described))
    assert read_graph(described) == read_graph(int8_content)
    for image in evaluation_rows.images[:20]:
        crop = (image.astype(np.int16) - 128).astype(np.int8)[None, :, :, None]
        assert np.array_equal(before.run(crop)[0], after.run(crop)[0])


def test_the_same_model_gives_the_same_bytes(described, int8_content):
    """No date and no order of a dictionary goes into the file."""
    graph = read_graph(int8_content)
    assert describe_file(int8_content, graph, "tiny", "tells faces", EMOTIONS) == described


def test_mediapipe_reads_it(described):
    """The classes generated from the format's own schema find labels, grey picture and range."""
    schema = pytest.importorskip("mediapipe.tasks.metadata.metadata_schema_py_generated")
    with zipfile.ZipFile(io.BytesIO(described)) as archive:
        assert archive.namelist() == ["labels.txt"]
        assert tuple(archive.read("labels.txt").decode().split()) == EMOTIONS
    data = metadata.find_metadata(tflite_schema().Model.GetRootAs(described, 0))
    assert schema.ModelMetadata.ModelMetadataBufferHasIdentifier(data, 0)
    model = schema.ModelMetadataT.InitFromPackedBuf(data, 0)
    assert (model.name, model.minParserVersion) == (b"tiny", b"1.0.0")
    (graph,) = model.subgraphMetadata
    (crop,), (output,) = graph.inputTensorMetadata, graph.outputTensorMetadata
    image = crop.content.contentProperties
    assert image.colorSpace == schema.ColorSpaceType.GRAYSCALE
    assert (image.defaultSize.width, image.defaultSize.height) == (48, 48)
    (unit,) = crop.processUnits
    assert unit.optionsType == schema.ProcessUnitOptions.NormalizationOptions
    assert (list(unit.options.mean), list(unit.options.std)) == ([0], [1])
    assert (list(crop.stats.max), list(crop.stats.min)) == ([255], [0])
    (labels,) = output.associatedFiles
    assert labels.name == b"labels.txt"
    assert labels.type == schema.AssociatedFileType.TENSOR_AXIS_LABELS


@pytest.mark.parametrize("cut", [10, 60, 200])
def test_damaged_metadata_are_one_clear_line(described, cut):
    """A torn archive at the end of the file is named."""
    with pytest.raises(ConversionError, match="metadata inside the TFLite file are damaged"):
        read_file_metadata(described[:-cut])
