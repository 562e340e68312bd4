"""A table of faces: one row a face and frame, for statistics."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from edge.contract.labels import EMOTIONS
from edge.errors import EdgeEmoError, SinkError
from edge.service.emotion_fields import emotion_fields
from edgeemo.optional import first_of, need
from edgeemo.results import Face, Failure, Frame

_PLAIN: Final = {
    "file": "text", "frame": "whole", "t_s": "number", "time": "time", "track": "whole",
    "label": "text", "confidence": "number",
}  # fmt: skip
_REST: Final = {
    **dict.fromkeys(("x1", "y1", "x2", "y2", "yaw", "pitch", "roll"), "number"),
    "quality": "text",
    "latency_ms": "number",
}


class Table:
    """Faces as rows; the same columns from ``to_dataframe``, ``to_arrow`` and `edgeemo analyze`.

    ===============  ==========================================================================
    ``file``         the film, picture or camera, as it was named
    ``frame``        counts its frames from 0
    ``t_s``          seconds on its own clock
    ``time``         the same moment in UTC
    ``track``        the same number for the same face, within a file
    ``label``        the smoothed emotion, or ``uncertain``
    ``confidence``   its score, 0 for ``uncertain``
    ``score_...``    the smoothed score of each emotion; null for a face without a result
    ``x1`` to ``y2`` the box in pixels
    ``yaw, pitch, roll``  of the head, in degrees
    ``quality``      ``ok``, or why the face was not classified
    ``latency_ms``   what the frame took in the pipeline
    ===============  ==========================================================================

    Args:
        labels: the emotions that get a column.

    Attributes:
        kinds: ``text``, ``whole``, ``number`` or ``time`` by column, in order.
        columns: the values by column.
    """

    def __init__(self, labels: Sequence[str] = EMOTIONS) -> None:
        self.kinds = kinds_of(labels)
        self.columns: dict[str, list[Any]] = {name: [] for name in self.kinds}
        self._labels = tuple(labels)

    def add(self, frames: Iterable[Frame | Failure]) -> "Table":
        """Add the faces of frames; return the table."""
        for frame in frames:
            for face in frame:
                for column, value in zip(
                    self.columns.values(), row_of(face, self._labels), strict=True
                ):
                    column.append(value)
        return self

    def __len__(self) -> int:
        return len(self.columns["file"])

    def to_dataframe(self) -> Any:
        """Return a pandas ``DataFrame``, or one of Polars where only that is installed.

        Raises:
            MissingExtraError: neither is.
        """
        library = first_of(("pandas", "polars"), "to_dataframe()")
        if library.__name__ == "polars":
            kinds = {"text": library.String, "whole": library.Int64, "number": library.Float64,
                     "time": library.Datetime("ms", "UTC")}  # fmt: skip
            schema = {name: kinds[kind] for name, kind in self.kinds.items()}
            return library.DataFrame(self.columns, schema=schema)
        dtypes = {"text": "string", "whole": "int64", "number": "float64",
                  "time": "datetime64[ms, UTC]"}  # fmt: skip
        return library.DataFrame(
            {
                name: library.Series(self.columns[name], dtype=dtypes[kind])
                for name, kind in self.kinds.items()
            }
        )

    def to_arrow(self) -> Any:
        """Return a ``pyarrow.Table``.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        pa = need("pyarrow", "pip install pyarrow", "to_arrow()")
        kinds = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64(),
                 "time": pa.timestamp("ms", "UTC")}  # fmt: skip
        schema = pa.schema([(name, kinds[kind]) for name, kind in self.kinds.items()])
        return pa.table(self.columns, schema=schema)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file with a header; it appears whole or not at all.

        Raises:
            SinkError: it cannot be written.
        """
        from edgeemo.csv_file import CsvFile

        with CsvFile(Path(os.fsdecode(path)), self.kinds) as file:
            file.write(zip(*self.columns.values(), strict=True))

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write a Parquet file by pyarrow.

        Raises:
            MissingExtraError: pyarrow is not installed.
            SinkError: it cannot be written.
        """
        parquet = need("pyarrow.parquet", "pip install pyarrow", "to_parquet()")
        try:
            parquet.write_table(self.to_arrow(), path, compression="zstd")
        except OSError as error:
            raise SinkError(f"{path}: cannot be written ({error})") from error


def kinds_of(labels: Sequence[str]) -> dict[str, str]:
    """Return the kind of each column, in order."""
    return {**_PLAIN, **{f"score_{label}": "number" for label in labels}, **_REST}


def row_of(face: Face, labels: Sequence[str]) -> tuple[Any, ...]:
    """Return a face's row, rounded as in the log.

    Raises:
        EdgeEmoError: it has scores of emotions that have no column.
    """
    moment, fields = face.moment, emotion_fields(face.moment, face.moment.latency_ms, face.result)
    scores, pose = fields["scores"], fields["head_pose"]
    if unknown := scores.keys() - set(labels):
        raise EdgeEmoError(
            f"the classifier gave scores for {', '.join(sorted(unknown))}, which have no column; "
            "give it an attribute `labels` with all of its emotions"
        )
    return (
        moment.file, moment.index, round(moment.t_s, 4), moment.captured_at, fields["track"],
        fields["label"], fields["confidence"], *(scores.get(label) for label in labels),
        *fields["box"], *((pose.yaw, pose.pitch, pose.roll) if pose else (None, None, None)),
        fields["quality"], fields["latency_ms"],
    )  # fmt: skip
