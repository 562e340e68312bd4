"""A release on a few devices first: how they do afterwards, beside how they did before."""

import time
from collections.abc import Iterator
from importlib import resources
from typing import Annotated, Final

import msgspec

from deploy.errors import DeployError
from deploy.operations.push import Options, Outcome, Report, push, read_facts
from deploy.release.archive import Contents
from deploy.ssh.targets import Target

_LOG_DIR: Final = "/var/log/edgeemo"
_FPS_SHARE: Final = 0.8
_WARMER_C: Final = 10.0
_LESS_SURE: Final = 0.2
_FEWEST: Final = 50
"""Emotions that a share is made of."""
_TIMEOUT_S: Final = 300.0

_Count = Annotated[int, msgspec.Meta(ge=0, le=10**15)]


class Recent(msgspec.Struct, frozen=True):
    """How a service has done over some time, by its log.

    Attributes:
        records: that were written.
        lost: numbers missing among them.
        fps: the median of the health records.
        temperature_c: the highest.
        emotions, uncertain: records of emotions, and those of them whose label is ``uncertain``.
        outages: how often the camera was lost.
    """

    records: _Count
    lost: _Count
    fps: float | None
    temperature_c: float | None
    emotions: _Count
    uncertain: _Count
    outages: _Count

    @property
    def uncertain_share(self) -> float | None:
        """Of the emotions; None where they are too few to tell."""
        return self.uncertain / self.emotions if self.emotions >= _FEWEST else None

    def __str__(self) -> str:
        """Say it in a line."""
        share = self.uncertain_share
        return ", ".join(
            (
                "no word of its speed" if self.fps is None else f"{self.fps:.1f} frames/s",
                *([] if self.temperature_c is None else [f"{self.temperature_c:.0f} °C"]),
                *([] if share is None else [f"{share:.0%} uncertain"]),
                f"{self.lost:,} records lost",
            )
        )


def worse(before: Recent, after: Recent) -> Iterator[str]:
    """Yield what has become worse; what was not measured both times is not compared."""
    if not after.records:
        yield "nothing was logged"
        return
    speed = before.fps, after.fps
    if speed[0] is not None and speed[1] is not None and speed[1] < _FPS_SHARE * speed[0]:
        yield f"{speed[1]:.1f} frames/s, {speed[0]:.1f} before"
    heat = before.temperature_c, after.temperature_c
    if heat[0] is not None and heat[1] is not None and heat[1] >= heat[0] + _WARMER_C:
        yield f"{heat[1]:.0f} °C, {heat[0]:.0f} °C before"
    shares = before.uncertain_share, after.uncertain_share
    if shares[0] is not None and shares[1] is not None and shares[1] > shares[0] + _LESS_SURE:
        yield f"{shares[1]:.0%} uncertain, {shares[0]:.0%} before"
    if after.lost > before.lost:
        yield f"{after.lost:,} records lost, {before.lost:,} before"
    if after.outages > before.outages:
        yield f"the camera was lost {after.outages} times, {before.outages} before"


def push_canary(
    target: Target, contents: Contents, options: Options, bake_s: float, report: Report
) -> Outcome:
    """Push to one device, wait, and compare how it does with how it did.

    A device where nothing was to be done is not waited for.

    Raises:
        DeployError: it could not be done; what ran before runs still.
        BundleError: the model's bundle is damaged.
    """
    before = recent(target, options, bake_s)
    outcome = push(target, contents, options, report)
    if outcome.status != "done":
        return outcome
    report(f"watched for {bake_s:g} s; before: {before}")
    time.sleep(bake_s)
    after = recent(target, options, bake_s)
    if problems := "; ".join(worse(before, after)):
        back = f"`edgeemo deploy rollback {target}` goes back"
        return Outcome(str(target), "failed", f"it does worse: {problems}; {back}")
    return Outcome(str(target), "done", f"{outcome.detail}; since: {after}")


def recent(target: Target, options: Options, seconds: float) -> Recent:
    """Ask a device how its service has done of late.

    Raises:
        DeployError: it cannot be asked, or its log cannot be read.
    """
    program = resources.files("deploy.device").joinpath("recent.py").read_text("utf-8")
    words = ["python3", "-I", "-c", program, _LOG_DIR, str(seconds)]
    with options.connect(target) as device:
        facts = read_facts(device, options.prefix)
        said = device.run(words, sudo=facts.sudo and not facts.root, timeout_s=_TIMEOUT_S)
    last = said.strip().splitlines()[-1:] or [""]
    try:
        return msgspec.json.decode(last[0], type=Recent)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DeployError(f"the device answered something else than its log ({error})") from error
