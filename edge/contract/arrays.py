"""Arrays of a ``.npz`` file that a stranger may have made."""

import io
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_arrays(content: bytes, most_bytes: int) -> dict[str, NDArray[Any]]:
    """Return all arrays of a file, by name; nothing in it is run, and no object is made of it.

    Args:
        content: of the file.
        most_bytes: of all arrays together: a file may unpack to a thousand times its size.

    Raises:
        ValueError: it is damaged, holds more or something else, or is no ``.npz`` file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if (size := sum(member.file_size for member in archive.infolist())) > most_bytes:
                raise ValueError(f"{size:,} bytes unpacked, at most {most_bytes:,} are expected")  # noqa: TRY301
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
        if strange := [name for name, value in arrays.items() if not isinstance(value, np.ndarray)]:
            raise ValueError(f"{strange[0]!r} is no array")  # noqa: TRY301
    # Not a zip, a torn one, encrypted, compressed in another way, one that claims to be huge, a
    # header that nests without end: zipfile, zlib and NumPy have an exception for each.
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error
    return arrays
