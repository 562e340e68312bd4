"""The processes that train together, as each of them sees the others.

They talk over connections of their own beside TensorFlow's: for what is agreed on before the first
step, for what the chief alone knows (the disk), and to tell within seconds who is missing, which
TensorFlow's collective operations do not.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec

from edge.errors import ConfigError
from host_training.errors import TrainingError


class Workers(Protocol):
    """What a run asks of those who train together.

    Attributes:
        index: of this process; 0 is the chief, the only one that writes.
        count: how many there are.
    """

    index: int
    count: int

    @property
    def is_chief(self) -> bool:
        """Tell whether this process writes the run."""

    def from_chief(self, make: Callable[[], bytes]) -> bytes:
        """Return what the chief makes; ``make`` is called there alone."""

    def gather(self, part: bytes) -> list[bytes]:
        """Return every worker's part, in their order."""

    def before_step(self) -> None:
        """Be told that the next training step is about to begin."""

    def after_steps(self) -> None:
        """Be told that an epoch's last step is done, and that other work follows."""

    def lost(self, error: Exception) -> TrainingError:
        """Return why a step could not be taken together: who is missing, where that is known."""

    def name(self, index: int) -> str:
        """Return what a worker is called in messages."""


class Alone:
    """One process."""

    index = 0
    count = 1
    is_chief = True

    def from_chief(self, make: Callable[[], bytes]) -> bytes:
        """Return what this process makes."""
        return make()

    def gather(self, part: bytes) -> list[bytes]:
        """Return the one part."""
        return [part]

    def before_step(self) -> None:
        """Do nothing."""

    def after_steps(self) -> None:
        """Do nothing."""

    def lost(self, error: Exception) -> TrainingError:
        """Return the error in our words."""
        return TrainingError(f"a training step failed: {error}")

    def name(self, index: int) -> str:  # noqa: ARG002 - there is but one
        """Return what it is called."""
        return "this process"


ALONE: Final[Workers] = Alone()


def slice_of(rows: int, index: int, count: int) -> slice:
    """Return the places of a batch that are one worker's: equal parts, to within one."""
    return slice(rows * index // count, rows * (index + 1) // count)


def check_alike(workers: Workers, facts: Mapping[str, str]) -> None:
    """Refuse to train with a worker that has other data, code or settings than the chief.

    Args:
        workers: all call this with the same names, before the first step.
        facts: what must be equal, by what it is called in a message.

    Raises:
        ConfigError: naming the first worker and fact that differ; on all of them.
    """
    stated = [
        msgspec.json.decode(part, type=dict[str, str])
        for part in workers.gather(msgspec.json.encode(dict(facts)))
    ]
    for index, own in enumerate(stated):
        for name, value in stated[0].items():
            if own.get(name) != value:
                raise ConfigError(
                    f"{workers.name(index)} has other {name} than the chief: {own.get(name)}, "
                    f"expected {value}; start all workers with the same data, code and settings"
                )
