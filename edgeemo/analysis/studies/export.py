"""`edgeemo logs export --as ...`: sessions as tables and annotations, for statistics and ELAN."""

from pathlib import Path
from typing import Final, Literal

from edge.errors import ConfigError, LogError
from edge.files import replacing
from edgeemo.analysis.database import Logs
from edgeemo.analysis.studies.annotations import bids, elan
from edgeemo.analysis.studies.sessions import chosen, sessions
from edgeemo.analysis.studies.tables import KEYS, long_rows, measures_of, wide_rows, written

Study = Literal["long", "wide", "elan", "bids"]
_SUFFIXES: Final[dict[Study, tuple[str, ...]]] = {
    "long": (".csv", ".tsv"),
    "wide": (".csv", ".tsv"),
    "elan": (".eaf",),
    "bids": (".tsv",),
}


def check_name(target: Path, form: Study) -> None:
    """Refuse a name that does not fit what is to be written, before any log is read.

    Raises:
        ConfigError: it does not.
    """
    if target.suffix.lower() not in _SUFFIXES[form]:
        raise ConfigError(
            f"--out {target} --as {form}: expected a name that ends in "
            f"{' or '.join(_SUFFIXES[form])}"
        )


def export_study(logs: Logs, form: Study, target: Path, session: str | None) -> list[Path]:
    """Write sessions in a form that studies use; return the files, each whole or not at all.

    Args:
        logs: what to read.
        form: ``long`` and ``wide`` take all sessions, or the one that is asked for; ``elan`` and
            ``bids`` have room for one.
        target: the file; ``bids`` writes one that describes it beside it (.json).
        session: the beginning of its id.

    Raises:
        ConfigError: there is no such session, or several for a form that has room for one.
        LogError: the logs cannot be read, or a file cannot be written.
    """
    found = sessions(logs)
    if not found:
        raise LogError("the log has no session in this time; name another one, or none")
    if form in {"elan", "bids"} or session is not None:
        found = [chosen(found, session)]
    delimiter = "\t" if target.suffix.lower() == ".tsv" else ","
    files: dict[Path, bytes] = {}
    if form == "elan":
        files[target] = elan(found[0])
    elif form == "bids":
        table, about = bids(found[0])
        files[target] = table.encode()
        files[target.with_suffix(".json")] = about.encode()
    elif form == "wide":
        files[target] = written((*KEYS, *measures_of(found)), wide_rows(found), delimiter).encode()
    else:
        columns = (*KEYS, "measure", "value")
        files[target] = written(columns, long_rows(found), delimiter).encode()
    for path, content in files.items():
        write_whole(path, content)
    return list(files)


def write_whole(target: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        LogError: it cannot be written.
    """
    try:
        with replacing(target, durable=False) as file:
            file.write(content)
    except OSError as error:
        raise LogError(f"{target}: cannot be written ({error.strerror})") from error
