"""Cameras: which there are, what they give, who holds them; a ribbon camera is opened, too."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edge.config import Config
from edge.doctor.report import Check, Status
from edge.errors import CameraError
from edge.sources.cameras import v4l2
from edge.sources.cameras.identity import NO_CAMERAS, Card, Places, present, read_card
from edge.sources.cameras.picamera import PiCameraView, probe_ribbon
from edge.sources.cameras.ribbon import NoRibbonCameraError, RibbonBusyError
from edge.sources.files.upright import Turn
from edge.system import machine

_SHOWN_FORMATS: Final = 4


def cameras(config: Config, places: Places | None = None) -> Iterator[Check]:
    """Yield a line for each camera, or one that says that there is none."""
    if sys.platform != "linux":
        yield Check("cameras", "ok", "not looked for on this system; `edgeemo run --source 0` does")
        return
    places = places or Places()
    asked = _asked_for(config, places)
    nodes = dict(present(places))
    if asked is not None and asked.exists():
        card = read_card(asked, places)
        nodes.setdefault(asked.resolve(), card or Card("", asked.name, "0"))
    found = False
    for node, card in nodes.items():
        is_asked = asked is not None and asked.resolve() == node.resolve()
        if card.index != "0" and not is_asked:
            continue  # a webcam's second node is for metadata
        if card.name.startswith(NO_CAMERAS) and not is_asked:
            continue
        found = True
        yield _camera(node, card, is_asked=is_asked)
    if not found or (asked is not None and not asked.exists()):
        yield _absent(config, asked)


def _asked_for(config: Config, places: Places) -> Path | None:
    spec = config.source.spec
    if spec.isdecimal():
        return places.dev / f"video{spec}"
    return Path(spec) if spec.startswith(f"{places.dev}/") else None


def _absent(config: Config, asked: Path | None) -> Check:
    remedy = "plug one in, or look for it in `ls /dev/v4l/by-id`; `--source demo` needs none"
    if config == Config():  # nobody asked for a camera yet
        return Check("cameras", "warning", "none found", remedy)
    if asked is not None:
        return Check("cameras", "failure", f"no {asked}", remedy)
    if config.source.spec == "auto":
        return Check("cameras", "warning", "no V4L2 camera", f"{remedy}; see the ribbon camera")
    return Check("cameras", "ok", f"none found; {config.source.spec} is no V4L2 camera")


def _camera(node: Path, card: Card, *, is_asked: bool) -> Check:
    name = f"camera {node}"
    bad: Status = "failure" if is_asked else "warning"
    called = f"{card.name} (/dev/v4l/by-id/{card.link})" if card.link else card.name
    try:
        formats = v4l2.capture_formats(node)
    except PermissionError:
        remedy = "`sudo usermod -aG video $USER`, then log in again"
        return Check(name, "failure", f"{called}: no permission", remedy)
    except OSError as error:
        return Check(name, bad, f"{called}: {error.strerror}", "unplug it and plug it in again")
    if formats is None:
        return Check(name, bad, f"{called}: gives no pictures", "choose another node or camera")
    told = ", ".join(map(str, formats[:_SHOWN_FORMATS])) or "no formats reported"
    others = [holder for holder in v4l2.holders(node) if holder.pid != os.getpid()]
    if others:
        who = ", ".join(map(str, others))
        return Check(name, "warning", f"{called}: {told}; held by {who}", f"end {who} to use it")
    return Check(name, "ok", f"{called}: {told}")


_RIBBON: Final = "ribbon camera"


def ribbon_camera(config: Config) -> Check:
    """Say what the ribbon camera gives, or why it cannot be had: a failure where it is wanted."""
    source = config.source
    is_asked = source.spec == "picamera"
    turn = Turn.of_camera(source.rotation, source.flip)
    view = PiCameraView(source.field_of_view, turn, source.focus_m)
    try:
        return Check(_RIBBON, "ok", probe_ribbon((source.height, source.width), source.fps, view))
    except NoRibbonCameraError as error:
        if is_asked:
            return _told("failure", error)
        if error.why == "broken" or machine.is_raspberry_pi():
            return _told("warning", error)
        return Check(_RIBBON, "ok", "none here; a Raspberry Pi may have one")
    except RibbonBusyError as error:
        return _told("warning", error)
    except CameraError as error:
        return _told("failure" if is_asked or source.spec == "auto" else "warning", error)


def _told(status: Status, error: CameraError) -> Check:
    """Take what an error says apart: what is found, and the remedy."""
    found, _, remedy = str(error).removeprefix("picamera: ").partition("; ")
    return Check(_RIBBON, status, found, remedy)
