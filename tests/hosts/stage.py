"""What every deploy scene has at hand."""

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from debian_container import must as must_hold
from deploy_device import Device
from workstation import Workstation

__all__ = ["WINDOW", "Stage", "must_hold"]

WINDOW = ("--window", "6")
_BUGS = """

# What the scenes put in: a bug of the code that a model brings out, in the service only.
_open_model_as_released = open_model


def open_model(config):
    import os, time

    from edge.errors import BundleError

    bundle = _open_model_as_released(config)
    card = (Path(config.bundle) / "MODEL_CARD.md").read_text() if config.bundle else ""
    if "INVOCATION_ID" in os.environ:
        if "BUG crash" in card:
            raise BundleError("a bug that only the service has")
        if "BUG hang" in card:
            time.sleep(1000)
        if "BUG eat" in card:
            hoard = [b"x" * (1 << 20) for _ in range(1000)]
            raise BundleError(f"{len(hoard)} MB were to be had")
    return bundle
"""


@dataclass
class Stage:
    """A device, a workstation, and what is pushed.

    Attributes:
        device: at the far end of the wire.
        station: at the near end.
        payload: wheels and assets.
        tool: the environment of the workstation's edgeemo, installed from its wheel.
        before: every file of the device before the first push.
    """

    device: Device
    station: Workstation
    payload: Path
    tool: Path
    before: set[str]

    @property
    def code(self) -> Path:
        """The installed package that goes to devices."""
        return next(self.tool.glob("lib/python3*/site-packages/edge"))

    def push(self, *words: str, code: int = 0, to: str = "pi") -> str:
        """Push with a short window; return what was printed."""
        return self.station.deploy("push", to, *WINDOW, *words, code=code)

    def change_code(self, note: str) -> None:
        """Let another version of the code be what is pushed from now on; it can have bugs."""
        path = self.code / "runtime" / "build.py"
        pristine = path.read_text().partition("\n\n# What the scenes put in")[0]
        path.write_text(f"{pristine}{_BUGS.rstrip()}\n\n# {note}\n" if note else f"{pristine}\n")

    def model(self, note: str) -> Path:
        """Make another model, of other bytes, with a name and a card that say ``note``."""
        target = self.station.folder / "models" / re.sub(r"\W", "-", note)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.code / "models" / "default", target)
        with (target / "model.tflite").open("ab") as model:
            model.write(b"\0" * 16 + note.encode())
        with (target / "MODEL_CARD.md").open("a") as card:
            card.write(f"\n{note}\n")
        return with_sums(target)

    def other_units(self, note: str) -> tuple[str, str]:
        """Return the words that push other unit files: a new release, of the same wheels."""
        target = self.station.folder / "units" / re.sub(r"\W", "-", note)
        shutil.copytree(self.code.parent / "deploy" / "systemd", target, dirs_exist_ok=True)
        with (target / "edgeemo.service").open("a") as unit:
            unit.write(f"\n# {note}\n")
        return "--units", str(target)


def with_sums(bundle: Path) -> Path:
    """Let a bundle's SHA256SUMS be those of its files."""
    names = sorted(path.name for path in bundle.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256((bundle / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (bundle / "SHA256SUMS").write_text("".join(lines))
    return bundle
