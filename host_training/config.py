"""What a training run is asked to do: everything that its result depends on."""

from typing import Any

import msgspec

from edge.errors import ConfigError
from host_training.architectures import check_name
from host_training.augment import Augmentation
from host_training.errors import TrainingError


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A run's settings, as ``config.json`` keeps them.

    Attributes:
        architecture: a name in ``host_training.architectures``.
        epochs: passes over the training rows.
        batch_size: rows a step.
        learning_rate: the peak, after the warm-up and before the cosine.
        weight_decay: decoupled (Loshchilov and Hutter, ICLR 2019), on kernels only.
        warmup_epochs: linear rise from 0; a fifth of the run at most.
        seed: of weights, order, views, dropout and validation rows.
        class_weights: weigh rows inversely to how common their label is.
        keep_duplicates: learn also from pictures that are among the validation rows.
        validation_share: of the training rows, where the data names no validation split.
        augmentation: see ``host_training.augment``.
    """

    architecture: str = "compact"
    epochs: int = 50
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 2e-2
    warmup_epochs: float = 2.0
    seed: int = 0
    class_weights: bool = False
    keep_duplicates: bool = False
    validation_share: float = 0.2
    augmentation: Augmentation = Augmentation()

    def __post_init__(self) -> None:
        check_name(self.architecture)
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:  # so that NaN is refused, too
                raise ConfigError(f"{_option(name)} must be above 0, got {getattr(self, name)}")
        for name in ("weight_decay", "warmup_epochs", "seed"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{_option(name)} must be 0 or more, got {getattr(self, name)}")
        if not 0 < self.validation_share <= 0.5:
            raise ConfigError(f"validation_share must lie in (0, 0.5], got {self.validation_share}")


def with_changes(base: TrainConfig, changes: dict[str, Any]) -> TrainConfig:
    """Return ``base`` with those settings changed whose value is not None.

    Raises:
        ConfigError: a value out of its range.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    return msgspec.structs.replace(base, **given)


def check_same_config(stored: TrainConfig, asked: TrainConfig) -> None:
    """Refuse to resume a run with other settings than it was started with.

    Raises:
        ConfigError: naming the first setting that differs.
    """
    before, now = msgspec.to_builtins(stored), msgspec.to_builtins(asked)
    for name in before:
        if before[name] != now[name]:
            raise ConfigError(
                f"--resume: {name} is {_text(before[name])} in this run, {_text(now[name])} was "
                f"asked for; leave {_option(name)} out, or start a new run with another --out"
            )


def decode_config(data: bytes, where: str) -> TrainConfig:
    """Parse ``config.json``; ``where`` names it in the message.

    Raises:
        TrainingError: it is not a configuration of a run.
    """
    try:
        return msgspec.json.decode(data, type=TrainConfig)
    except msgspec.MsgspecError as error:
        raise TrainingError(f"{where}: not a run's configuration ({error})") from error


def _option(name: str) -> str:
    return "--arch" if name == "architecture" else f"--{name.replace('_', '-')}"


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
