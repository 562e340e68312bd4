"""`edgeemo train`, `evaluate` and `convert` as functions: the same arguments, and their reports."""

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

if TYPE_CHECKING:
    from converters.parity.check import ParityReport
    from host_training.evaluation.cross_set import CrossSet
    from host_training.evaluation.evaluate import Evaluation
    from host_training.runs.directory import RunDirectory

AnyPath = str | os.PathLike[str]


def train(data: AnyPath, out: AnyPath, **options: Any) -> "RunDirectory":
    """Train a network, as `edgeemo train` does; progress is printed.

    ::

        run = edgeemo.train("fer2013.csv.gz", "runs/mine", labels="fer2013new.csv", epochs=30)

    Args:
        data: what `--data` takes.
        out: the run directory to write.
        options: what the command takes besides, with ``_`` for ``-``: ``labels``, ``recipe``,
            ``arch``, ``init``, ``teacher`` (a list), ``resume``, ``epochs``, ``batch_size``,
            ``learning_rate``, ``seed``, ``settings`` (a list of ``"NAME=VALUE"``), and others.

    Returns:
        The run directory, with its configuration and records.

    Raises:
        TypeError: an option that the command has not got.
        EdgeEmoError: as the command; its message is the command's line.
    """
    from edgeemo.cli.train import train as command

    run: RunDirectory = _called(command, {"data": data, "out": out, **options})
    return run


def evaluate(
    model: AnyPath, data: AnyPath | Sequence[AnyPath], **options: Any
) -> "Evaluation | CrossSet":
    """Measure a model on data, as `edgeemo evaluate` does; tables are printed.

    ::

        figures = edgeemo.evaluate("default", "CK+48", pipeline=True)
        print(figures.accuracy, figures.balanced_accuracy)

    Args:
        model: a run directory, ``.keras``, ``.tflite``, bundle, or ``default``.
        data: what `--data` takes; a list for one table over several sets.
        options: what the command takes besides, with ``_`` for ``-``: ``labels``, ``split``,
            ``pipeline``, ``corruptions``, ``against``, ``report``, ``folds``, ``out``, and others.

    Returns:
        What `--json` writes, as a struct; of several data sets a ``CrossSet``.

    Raises:
        TypeError: an option that the command has not got.
        EdgeEmoError: as the command; its message is the command's line.
    """
    from edgeemo.cli.evaluate import evaluate as command

    sets = [data] if isinstance(data, str | os.PathLike) else list(data)
    figures: Evaluation | CrossSet = _called(command, {"model": model, "data": sets, **options})
    return figures


def convert(model: AnyPath, data: AnyPath, out: AnyPath, **options: Any) -> "ParityReport":
    """Convert a model to a bundle and prove its accuracy, as `edgeemo convert`; tables are printed.

    ::

        report = edgeemo.convert("runs/mine", "fer2013.csv.gz", "my-bundle")

    Args:
        model: a run directory, ``.keras`` file or SavedModel.
        data: what `--data` takes.
        out: the bundle directory to write.
        options: what the command takes besides, with ``_`` for ``-``: ``labels``, ``fp16``,
            ``split``, ``max_drop``, ``tau`` (text), ``force``, and others.

    Returns:
        The report that the bundle holds as ``parity.json``.

    Raises:
        TypeError: an option that the command has not got.
        ConversionError: the model does not convert, or the gate is not met.
        EdgeEmoError: as the command; its message is the command's line.
    """
    from edgeemo.cli.convert import convert as command

    report: ParityReport = _called(command, {"model": model, "data": data, "out": out, **options})
    return report


def _called(command: Callable[..., Any], given: dict[str, Any]) -> Any:
    """Call a command's function; a path may be text."""
    kinds = get_type_hints(command)
    inspect.signature(command).bind(**given)  # a TypeError names what is wrong
    return command(**{name: _as_asked(value, kinds[name]) for name, value in given.items()})


def _as_asked(value: Any, kind: Any) -> Any:
    if Path not in {
        kind,
        *get_args(kind),
        *(inner for k in get_args(kind) for inner in get_args(k)),
    }:
        return value
    if isinstance(value, list | tuple):
        return [Path(item) for item in value]
    return Path(value) if isinstance(value, str | os.PathLike) else value
