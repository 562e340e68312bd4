"""The error tree. Adapters translate foreign exceptions into these, ``from`` the cause.

::

    EdgeEmoError            exit code 1: the thing itself failed
    +-- BundleError         a model bundle is missing, damaged or contradicts its model
    +-- LabelError          an unknown emotion
    +-- ManifestError       a list of labelled pictures is damaged, too large or leads elsewhere
    +-- CalibrationError    labelled pictures cannot calibrate a model, or do not help it
    +-- CaptureError        pictures of a person cannot be taken, kept or forgotten
    +-- DataError           a data set's file is not what it should be (host)
    +-- TrainingError       a training run cannot go on (host)
    +-- ConversionError     a model does not convert, or the gate was not met (host)
    +-- DeployError         a device cannot be reached, or did not take a release (deploy)
    |   +-- ConnectionLostError  and what it did of what it was asked is not known
    +-- AssetError          a downloaded file could not be had, or its hash is wrong
    +-- CameraError         a frame source cannot be opened or has failed
    |   +-- CameraStuckError  and its native code did not come back
    +-- PictureError        a file is no picture that can be read
    +-- InferenceError      a runtime, mesher or model failed
    |   +-- ImplausibleError  for one face only, which is skipped
    +-- SinkError           records cannot be written
    +-- LogError            written records cannot be found or read
    +-- ConfigError         exit code 2: bad usage or configuration
    +-- MissingExtraError   exit code 2: a library that an extra brings is not installed

``DataError`` and ``TrainingError`` live in ``host_training.errors``, ``ConversionError`` in
``converters.errors``, ``DeployError`` and its kind in ``deploy.errors``.

A file or folder that was named and is not there is wrong usage, whatever the command: the error is
of the kind above that belongs to it, with exit code 2 (``not_there``). A camera, a stream or a
device that does not answer has failed: 1.
"""

from typing import TypeVar


class EdgeEmoError(Exception):
    """Anything edgeemo reports to its user as one line, with an exit code.

    The message says what went wrong, what was received, what was expected and the remedy.
    """

    exit_code: int = 1


class BundleError(EdgeEmoError):
    """A model bundle is missing, damaged, or does not fit the model in it."""


class LabelError(EdgeEmoError):
    """An emotion name or number that edgeemo does not know."""


class ManifestError(EdgeEmoError):
    """A list of labelled pictures is damaged, too large, or leads out of its folder."""


class AssetError(EdgeEmoError):
    """A file that edgeemo does not ship could not be obtained, or is not the pinned one."""


class CalibrationError(EdgeEmoError):
    """Labelled pictures cannot calibrate a model, or do not help it on people held out."""


class CaptureError(EdgeEmoError):
    """Pictures of a person cannot be taken, kept or forgotten."""


class CameraError(EdgeEmoError):
    """A camera, video file, stream or picture folder cannot be opened or has failed."""


class CameraStuckError(CameraError):
    """A camera's native code did not come back in time.

    Args:
        message: what was waited for, and how long.
        is_ended: it ran in a process of its own, which was ended: the camera can be opened again.
            Otherwise trying again in this process is in vain.
    """

    def __init__(self, message: str, *, is_ended: bool = False) -> None:
        super().__init__(message)
        self.is_ended = is_ended


class PictureError(EdgeEmoError):
    """A file is no picture that can be read: another thing, damaged, or too large.

    Args:
        path: the file.
        reason: in a few words.
    """

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: not a readable picture ({reason})")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type["PictureError"], tuple[object, str]]:
        """Say how to make it again: it may cross processes."""
        return type(self), (self.path, self.reason)


class InferenceError(EdgeEmoError):
    """A TFLite runtime, a mesher or a model is missing or failed."""


class ImplausibleError(InferenceError):
    """A mesher or a model gave what no face can have, such as scores that are not numbers."""


class SinkError(EdgeEmoError):
    """Records cannot be written to where they should go."""


class LogError(EdgeEmoError):
    """Records that were written cannot be found, read or queried."""


class ConfigError(EdgeEmoError):
    """Wrong usage or wrong configuration values: a line each, joined where one line is wanted."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)

    def __str__(self) -> str:
        return "; ".join(self.args)


class MissingExtraError(EdgeEmoError):
    """A command needs a library that is not installed; the message names the extra with it."""

    exit_code = 2


_Error = TypeVar("_Error", bound=EdgeEmoError)


def not_there(error: _Error, cause: OSError | None = None) -> _Error:
    """Return the error as one of usage: the file or folder that was named is not there.

    Args:
        error: what is raised.
        cause: why it could not be read; where that is another reason, the error stays as it is.
    """
    if cause is None or isinstance(cause, FileNotFoundError | NotADirectoryError):
        error.exit_code = ConfigError.exit_code
    return error
