"""Every operation of a model file, in order, with what it makes and how that is quantised."""

import msgspec
from rich.table import Table
from rich.text import Text

from converters.tflite.flatbuffer import Graph, Tensor


class OperationEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An operation and its first output.

    Attributes:
        operation: TFLite's name of it.
        output: the output tensor's name.
        dtype: TFLite's name of the output's type.
        shape: of the output.
        scales: of the output: none, one, or one a channel.
        zero_points: as many.
        constant_bytes: size of its weights, biases and other constants.
        weight_scales: how many scales its quantised constants have: one a channel, for most.
    """

    operation: str
    output: str
    dtype: str
    shape: tuple[int, ...]
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    constant_bytes: int
    weight_scales: int


def operation_entries(graph: Graph) -> tuple[OperationEntry, ...]:
    """Return the operations of a graph in the order in which they run."""
    entries = []
    for operation in graph.operations:
        constants = [
            tensor
            for index in operation.inputs
            if index >= 0 and (tensor := graph.tensors[index]).data_bytes
        ]
        output = graph.tensors[operation.outputs[0]]
        entries.append(_entry(operation.name, output, constants))
    return tuple(entries)


def _entry(name: str, output: Tensor, constants: list[Tensor]) -> OperationEntry:
    return OperationEntry(
        operation=name,
        output=output.name,
        dtype=output.dtype,
        shape=output.shape,
        scales=output.scales,
        zero_points=output.zero_points,
        constant_bytes=sum(tensor.data_bytes for tensor in constants),
        weight_scales=max((len(tensor.scales) for tensor in constants), default=0),
    )


def operations_table(entries: tuple[OperationEntry, ...]) -> Table:
    """Lay the operations out for a console."""
    header = ("#", "operation", "makes", "type", "shape", "scale", "zero", "bytes", "weight scales")
    table = Table(*header, title="Every operation", title_justify="left")
    for column in (0, 5, 6, 7, 8):
        table.columns[column].justify = "right"
    for number, entry in enumerate(entries):
        table.add_row(
            str(number),
            entry.operation,
            Text(_short(entry.output)),
            entry.dtype,
            "x".join(map(str, entry.shape)),
            f"{entry.scales[0]:.4g}" if entry.scales else "-",
            str(entry.zero_points[0]) if entry.zero_points else "-",
            f"{entry.constant_bytes:,}" if entry.constant_bytes else "-",
            str(entry.weight_scales or "-"),
        )
    return table


def _short(name: str) -> str:
    """Return the first layer in a tensor's name, which lists all that were fused, with paths."""
    return "/".join(name.partition(";")[0].split("/")[-2:])
