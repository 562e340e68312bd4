"""Looking at a Keras model's file before Keras opens it: what it holds, and why not to open it."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

KERAS: Final = ".keras"

_MOST_BYTES: Final = 16 << 20
"""Of a model's description; that of a network of hundreds of layers has half a million."""

_RESAVE: Final = "save the model with model.save('model.keras')"
_PICKLE: Final = f"a pickle runs any code when it is opened; {_RESAVE}"
_HDF5: Final = f"the old HDF5 form may carry code and has no safe mode; {_RESAVE}"
_REFUSED: Final = {".pkl": _PICKLE, ".pickle": _PICKLE, ".h5": _HDF5, ".hdf5": _HDF5}
_SIGNATURES: Final = ((b"\x89HDF\r\n\x1a\n", _HDF5), (b"\x80", _PICKLE))
"""First bytes of such files, whatever they are called."""

_FLOAT32: Final = "float32"
_POLICIES: Final = ("Policy", "DTypePolicy", "QuantizedDTypePolicy", "QuantizedFloat8DTypePolicy")


def refusal(file: Path) -> str | None:
    """Say why a file is not opened as a Keras model, with the remedy; None for one that may be.

    Nothing of the file is executed: no code inside (Lambda layers, pickles, HDF5) gets to run, and
    a precision that TensorFlow Lite has no operations for is named as what it is.
    """
    if reason := _REFUSED.get(file.suffix.lower()):
        return f"refused, {reason}"
    if not file.is_file():
        return "no such file; expected a .keras file"
    try:
        with file.open("rb") as opened:
            start = opened.read(8)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    for signature, reason in _SIGNATURES:
        if start.startswith(signature):
            return f"refused, {reason}"
    if file.suffix != KERAS or not zipfile.is_zipfile(file):
        return (
            "not a whole .keras file; expected one written by `edgeemo train` or "
            "model.save('model.keras')"
        )
    return _content_refusal(file)


def written_by(file: Path) -> str:
    """Return which version of Keras wrote a file, in words."""
    try:
        version = json.loads(_member(file, "metadata.json"))["keras_version"]
    except Exception:  # whatever zipfile and zlib raise for a damaged member
        return "written by an unknown version of Keras"
    return f"written by Keras {version}"


def _content_refusal(file: Path) -> str | None:
    try:
        config = json.loads(_member(file, "config.json"))
        layers = list(_objects(config))
        # Of the network alone: how it was compiled is nobody's concern here.
        network = list(_objects(config.get("config") if isinstance(config, dict) else None))
    except Exception as error:  # the same, and brackets in brackets
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
        return (
            f"not a .keras file ({reason}); expected one written by `edgeemo train` or "
            "model.save('model.keras')"
        )
    if any(layer["class_name"] == "Lambda" for layer in layers):
        return "refused, it holds a Lambda layer, which is Python code; use layers of Keras"
    for layer in network:
        precision = _precision(layer)
        if precision not in (None, _FLOAT32):
            return (
                f"saved under the precision policy {precision}, for which TensorFlow Lite has no "
                "kernels; expected float32: build the same network with "
                "keras.config.set_dtype_policy('float32'), give it these weights (set_weights) and "
                "save that"
            )
    return None


def _member(file: Path, name: str) -> bytes:
    with zipfile.ZipFile(file) as archive:
        if (size := archive.getinfo(name).file_size) > _MOST_BYTES:
            raise ValueError(f"{name} has {size:,} bytes, more than {_MOST_BYTES:,}")
        return archive.read(name)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every serialised object within one, itself included."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for part in value.values():
            yield from _objects(part)
    elif isinstance(value, list):
        for part in value:
            yield from _objects(part)


def _precision(layer: dict[str, Any]) -> str | None:
    """Return the policy that a layer computes under; None where it is no such thing."""
    config = layer.get("config")
    if not isinstance(config, dict):
        return None
    if layer["class_name"] in _POLICIES:
        return str(config.get("name"))
    dtype = config.get("dtype")  # plain text from older versions, and of inputs
    return dtype if isinstance(dtype, str) and "float" in dtype else None
