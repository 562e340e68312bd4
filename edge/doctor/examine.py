"""Every check, one after the other."""

from collections.abc import Callable, Iterable

from edge.config import Config
from edge.doctor import cameras, hardware, libraries, software
from edge.doctor.report import Check
from edge.errors import EdgeEmoError


def examine(config: Config) -> list[Check]:
    """Run every check; none raises, for a doctor who faints helps nobody."""
    checks: list[tuple[str, Callable[[], Check | Iterable[Check]]]] = [
        ("python", software.python),
        ("OpenCV", libraries.opencv),
        ("TFLite runtime", software.runtime),
        ("model", lambda: software.model(config)),
        ("mesher", lambda: software.mesher(config)),
        ("face model file", software.face_model),
        ("graphics libraries", lambda: libraries.graphics(config)),
        ("ribbon camera", lambda: cameras.ribbon_camera(config)),
        ("cameras", lambda: cameras.cameras(config)),
        ("groups", hardware.groups),
        ("log directory", lambda: hardware.log_directory(config)),
        ("temperature", hardware.temperature),
        ("throttling", hardware.throttling),
    ]
    return [found for name, check in checks for found in _guarded(name, check)]


def _guarded(name: str, check: Callable[[], Check | Iterable[Check]]) -> list[Check]:
    try:
        found = check()
        return [found] if isinstance(found, Check) else list(found)
    except EdgeEmoError as error:
        return [Check(name, "failure", str(error))]
    except Exception as error:  # whatever it is, it is a finding
        return [Check(name, "failure", f"{type(error).__name__}: {error}")]
