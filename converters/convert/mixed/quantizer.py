"""Quantising by recipe, layer by layer: ai-edge-quantizer on the float TFLite file."""

import contextlib
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from converters.convert.mixed.layers import LayerOperation
from converters.errors import ConversionError
from converters.model.model_file import InputKind
from edge.errors import EdgeEmoError, MissingExtraError, not_there
from edge.system.diagnostics import silenced

FULL_INT8: Final = "static_wi8_ai8"
"""The recipe that keeping some layers in float starts from."""

Recipe = list[dict[str, Any]]
"""As ai-edge-quantizer has it: later entries override earlier ones."""

Rows = Mapping[InputKind, NDArray[np.float32]]


def read_recipe(name: str) -> Recipe:
    """Return a recipe of ai-edge-quantizer by its name, or one from a ``.json`` file.

    Raises:
        ConversionError: no such recipe, not a recipe.
        MissingExtraError: ai-edge-quantizer is not installed.
    """
    if name.endswith(".json"):
        return _from_file(Path(name))
    recipes = _import("recipe")
    known = sorted(key for key in vars(recipes) if re.match(r"(static|dynamic|weight_only)_", key))
    if name not in known:
        raise ConversionError(
            f"no recipe {name!r}; choose from {', '.join(known)}, or give a .json file"
        )
    return list(getattr(recipes, name)())


def only(operations: Sequence[LayerOperation]) -> Recipe:
    """Return the recipe that quantises these operations to int8 and leaves all others in float."""
    (full,) = read_recipe(FULL_INT8)
    return [{**full, "regex": _exactly(operation)} for operation in operations]


def keeping(recipe: Recipe, operations: Sequence[LayerOperation]) -> Recipe:
    """Return a recipe that leaves these operations in float."""
    kept = [
        {"regex": _exactly(operation), "operation": "*", "algorithm_key": "no_quantize"}
        for operation in operations
    ]
    return [*recipe, *kept]


def _exactly(operation: LayerOperation) -> str:
    return f"^{re.escape(operation.scope)}$"


class Quantizer:
    """A float TFLite file, calibrated once and quantised by any number of recipes."""

    def __init__(self, content: bytes, rows: Rows | None = None) -> None:
        """Take a float32 TFLite file and, for recipes that need them, real calibration rows."""
        self._content = content
        self._rows = rows
        self._ranges: Any = None

    def quantize(self, recipe: Recipe) -> bytes:
        """Return the file quantised.

        Raises:
            ConversionError: the recipe does not suit the model, or needs calibration
                samples where there are none.
            MissingExtraError: ai-edge-quantizer is not installed.
        """
        module = _import("quantizer")
        try:
            with _quiet():
                quantizer = module.Quantizer(self._content, recipe)
                ranges = self._calibrated() if quantizer.need_calibration else None
                return bytes(quantizer.quantize(ranges).quantized_model)
        except EdgeEmoError:
            raise
        # Whatever its stages raise: ValueError, RuntimeError, KeyError, TypeError, ...
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise ConversionError(
                f"ai-edge-quantizer cannot apply this recipe ({type(error).__name__}: {reason}); "
                "try another recipe"
            ) from error

    def _calibrated(self) -> Any:
        """Measure the range of every tensor once.

        From the least to the greatest value, as TensorFlow does. The tool's own way is a moving
        average, which cuts off what only some rows reach.
        """
        if self._rows is None:
            raise ConversionError("this recipe needs calibration samples, got none")
        if self._ranges is None:
            recipes = _import("recipe_manager").RecipeManager()
            recipes.load_quantization_recipe(read_recipe(FULL_INT8))
            given = [
                {name: row[None] for name, row in zip(self._rows, values, strict=True)}
                for values in zip(*self._rows.values(), strict=True)
            ]
            calibrator = _import("calibrator").Calibrator(
                self._content,
                num_threads=2,
                qsv_update_func=_import("utils.qsv_utils").min_max_update,
            )
            calibrator.calibrate({_SIGNATURE: given}, recipes)
            self._ranges = calibrator.get_model_qsvs()
        return self._ranges


_SIGNATURE: Final = "serving_default"


def _from_file(path: Path) -> Recipe:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Recipe)
    except OSError as error:
        raise not_there(
            ConversionError(f"{path}: cannot be read ({error.strerror}); expected a recipe"), error
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConversionError(
            f"{path}: not a recipe of ai-edge-quantizer ({error}); expected a list of objects with "
            "regex, operation, algorithm_key and op_config"
        ) from error


@contextlib.contextmanager
def _quiet() -> Any:
    with (
        warnings.catch_warnings(),
        silenced(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def _import(name: str) -> Any:
    try:
        import importlib

        with _quiet():
            return importlib.import_module(f"ai_edge_quantizer.{name}")
    except ImportError as error:
        raise MissingExtraError(
            f"ai-edge-quantizer cannot be imported ({error}); `pip install 'edgeemo[quantize]'`"
        ) from error
