"""The ribbon camera: opened as a run would open it, in its own process, and closed again."""

from typing import Final

from edge.config import Config
from edge.doctor.report import Check, Status
from edge.errors import CameraError
from edge.sources.cameras.picamera import PiCameraView, probe_ribbon
from edge.sources.cameras.ribbon import NoRibbonCameraError, RibbonBusyError
from edge.sources.files.upright import Turn
from edge.system import machine

_NAME: Final = "ribbon camera"


def ribbon_camera(config: Config) -> Check:
    """Say what the ribbon camera gives, or why it cannot be had: a failure where it is wanted."""
    source = config.source
    is_asked = source.spec == "picamera"
    turn = Turn.of_camera(source.rotation, source.flip)
    view = PiCameraView(source.field_of_view, turn, source.focus_m)
    try:
        return Check(_NAME, "ok", probe_ribbon((source.height, source.width), source.fps, view))
    except NoRibbonCameraError as error:
        if is_asked:
            return _told("failure", error)
        if error.why == "broken" or machine.is_raspberry_pi():
            return _told("warning", error)
        return Check(_NAME, "ok", "none here; a Raspberry Pi may have one")
    except RibbonBusyError as error:
        return _told("warning", error)
    except CameraError as error:
        return _told("failure" if is_asked or source.spec == "auto" else "warning", error)


def _told(status: Status, error: CameraError) -> Check:
    """Take what an error says apart: what is found, and the remedy."""
    found, _, remedy = str(error).removeprefix("picamera: ").partition("; ")
    return Check(_NAME, status, found, remedy)
