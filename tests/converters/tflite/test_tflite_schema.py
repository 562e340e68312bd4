"""The device's own idea of a TFLite file is that of the schema, which a device does not have."""

import inspect
import re

import pytest

from converters.tflite.conversion import to_tflite
from converters.tflite.flatbuffer import tflite_schema
from edge.inference.tflite.operators import OPERATORS
from edge.inference.tflite.verify import SCHEMA, check_tflite

TABLES = [name for name in SCHEMA if " " not in name]


@pytest.mark.parametrize("table", TABLES)
def test_the_fields_stand_at_their_slots(table):
    """Each field that is read has the place which the generated classes read it from."""
    generated = getattr(tflite_schema(), table)
    for slot, field in enumerate(SCHEMA[table]):
        method = getattr(generated, "".join(part.capitalize() for part in field.split("_")), None)
        if method is None:  # deprecated: the classes have no reader for it
            assert field == "deprecated_tag"
            continue
        (offset,) = set(re.findall(r"_tab\.Offset\((\d+)\)", inspect.getsource(method)))
        assert int(offset) == 4 + 2 * slot, field


def test_the_operations_have_their_numbers():
    """Codes and kinds of options are those of the schema."""
    schema = tflite_schema()
    codes, kinds = vars(schema.BuiltinOperator), vars(schema.BuiltinOptions)
    options = {number: name for name, number in kinds.items() if isinstance(number, int)}
    for code, operator in OPERATORS.items():
        assert codes[operator.name] == code
        if operator.options:
            words = options[operator.options].removesuffix("Options").lower()
            related = {"pool2d", "reducer", "maximumminimum", "l2norm"}
            assert words == operator.name.replace("_", "").lower() or words in related
    assert options[17] == "ReshapeOptions"
    assert options[30] == "SqueezeOptions"


@pytest.mark.parametrize("form", ["float32", "fp16", "dynamic"])
def test_every_form_of_a_model_fits_together(model, elu_model, form):
    """What the converter makes passes the look through the file, ELU and all."""
    for network in (model, elu_model):
        assert check_tflite(to_tflite(network, form)) is None
