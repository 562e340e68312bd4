"""Many devices: in parallel, batch by batch, stopping when too many fail."""

import re
from collections.abc import Callable, Sequence
from math import ceil

from deploy.errors import DeployError
from deploy.operations.push import Outcome
from deploy.ssh.targets import Target
from edge.errors import EdgeEmoError

Work = Callable[[Target], Outcome]


def batch_size(text: str, count: int) -> int:
    """Return how many devices are done at a time: ``5`` or ``10%`` of them, at least one.

    Raises:
        DeployError: neither a number nor a percentage.
    """
    match = re.fullmatch(r"([0-9]{1,4})(%?)", text)
    number = int(match[1]) if match else 0
    if match is None or number == 0 or (match[2] and number > 100):
        raise DeployError(f"--batch {text!r}; expected a number of devices, or a share like 10%")
    return max(1, ceil(count * number / 100)) if match[2] else number


def run_fleet(
    targets: Sequence[Target],
    work: Work,
    *,
    batch: int,
    max_fail: int,
    report: Callable[[Outcome], object],
    is_paused: Callable[[], bool] = lambda: False,
) -> list[Outcome]:
    """Do the work on every device and return what happened, in the order of the targets.

    A device that fails hinders no other one. When more than ``max_fail`` have failed, or it is
    paused, the batch at work is finished and no other is begun; those left are ``not tried``. The
    same call again goes on where this one stopped, for what is done is left alone.
    """
    from gevent.pool import Pool

    def one(target: Target) -> Outcome:
        try:
            outcome = work(target)
        except EdgeEmoError as error:
            outcome = Outcome(str(target), "failed", str(error))
        except Exception as error:  # one device, whatever it has sent, ends no other's work
            outcome = Outcome(str(target), "failed", f"unexpected {type(error).__name__}: {error}")
        report(outcome)
        return outcome

    outcomes: list[Outcome] = []
    for start in range(0, len(targets), batch):
        part = targets[start : start + batch]
        if detail := _why_not(outcomes, max_fail, is_paused):
            skipped = [Outcome(str(target), "not tried", detail) for target in targets[start:]]
            for outcome in skipped:
                report(outcome)
            return outcomes + skipped
        outcomes += list(Pool(len(part)).map(one, part))
    return outcomes


def _why_not(outcomes: Sequence[Outcome], max_fail: int, is_paused: Callable[[], bool]) -> str:
    """Return why no further batch is begun, or an empty text."""
    failed = sum(not outcome.is_good for outcome in outcomes)
    if failed > max_fail:
        return f"stopped: {failed} devices failed, --max-fail is {max_fail}"
    return "paused; the same command goes on" if is_paused() else ""
