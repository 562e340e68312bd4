"""Find faces, follow them and name their emotions, from Python.

A photo, a film and a camera::

    import edgeemo

    analyzer = edgeemo.Analyzer()
    for face in analyzer.image("photo.jpg"):
        print(face.label, face.confidence)

    table = analyzer.video("film.mp4").to_dataframe()

    for frame in analyzer.video(0):
        frame.draw().save("seen.png")

Nothing heavy is loaded until a name is used: ``import edgeemo`` itself takes milliseconds.
What is not in ``__all__`` may change with any version; what is, changes by SemVer.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from edge import __version__

if TYPE_CHECKING:
    from edge.errors import (
        AssetError,
        BundleError,
        CameraError,
        CameraStuckError,
        ConfigError,
        EdgeEmoError,
        ImplausibleError,
        InferenceError,
        LabelError,
        LogError,
        MissingExtraError,
        PictureError,
        SinkError,
    )
    from edge.records import EmotionEstimate, EmotionState, HeadPose
    from edgeemo.analysis.log import Log, open_log
    from edgeemo.analyzer import Analyzer
    from edgeemo.batch import AnalyzeReport, analyze
    from edgeemo.bundles import Model, open_bundle
    from edgeemo.frames import Frames
    from edgeemo.results import Drawing, Face, Failure, Frame
    from edgeemo.table import Table
    from edgeemo.workstation import convert, evaluate, train

_HOME: Final = {
    "Analyzer": "edgeemo.analyzer",
    "AnalyzeReport": "edgeemo.batch",
    "AssetError": "edge.errors",
    "BundleError": "edge.errors",
    "CameraError": "edge.errors",
    "CameraStuckError": "edge.errors",
    "ConfigError": "edge.errors",
    "Drawing": "edgeemo.results",
    "EdgeEmoError": "edge.errors",
    "EmotionEstimate": "edge.records",
    "EmotionState": "edge.records",
    "Face": "edgeemo.results",
    "Failure": "edgeemo.results",
    "Frame": "edgeemo.results",
    "Frames": "edgeemo.frames",
    "HeadPose": "edge.records",
    "ImplausibleError": "edge.errors",
    "InferenceError": "edge.errors",
    "LabelError": "edge.errors",
    "Log": "edgeemo.analysis.log",
    "LogError": "edge.errors",
    "MissingExtraError": "edge.errors",
    "Model": "edgeemo.bundles",
    "PictureError": "edge.errors",
    "SinkError": "edge.errors",
    "Table": "edgeemo.table",
    "analyze": "edgeemo.batch",
    "convert": "edgeemo.workstation",
    "evaluate": "edgeemo.workstation",
    "open_bundle": "edgeemo.bundles",
    "open_log": "edgeemo.analysis.log",
    "train": "edgeemo.workstation",
}
"""Where each public name is defined; it is imported when it is first used."""

__all__ = [
    "AnalyzeReport",
    "Analyzer",
    "AssetError",
    "BundleError",
    "CameraError",
    "CameraStuckError",
    "ConfigError",
    "Drawing",
    "EdgeEmoError",
    "EmotionEstimate",
    "EmotionState",
    "Face",
    "Failure",
    "Frame",
    "Frames",
    "HeadPose",
    "ImplausibleError",
    "InferenceError",
    "LabelError",
    "Log",
    "LogError",
    "MissingExtraError",
    "Model",
    "PictureError",
    "SinkError",
    "Table",
    "__version__",
    "analyze",
    "convert",
    "evaluate",
    "open_bundle",
    "open_log",
    "train",
]

if not TYPE_CHECKING:  # else a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        home = _HOME.get(name)
        if home is None:
            raise AttributeError(f"module 'edgeemo' has no attribute {name!r}")
        try:
            found = globals()[name] = getattr(import_module(home), name)
        except ModuleNotFoundError as error:
            if error.name != home:
                raise
            raise AttributeError(
                f"edgeemo.{name} is a workstation's, and this is a device's edgeemo; use it where "
                "the whole of edgeemo is installed"
            ) from error
        return found


def __dir__() -> list[str]:
    return sorted(__all__)
