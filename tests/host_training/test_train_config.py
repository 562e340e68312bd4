"""Settings are checked when they are made, and a run keeps the ones that it began with."""

import re

import msgspec
import pytest

from edge.contract.errors import EdgeEmoError
from edge.errors import ConfigError
from host_training.config import TrainConfig, check_same_config, decode_config, with_changes
from host_training.errors import TrainingError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "vgg"}, "unknown architecture 'vgg'"),
        ({"epochs": 0}, "--epochs must be above 0, got 0"),
        ({"batch_size": -1}, "--batch-size must be above 0"),
        ({"learning_rate": 0.0}, "--learning-rate must be above 0"),
        ({"learning_rate": float("nan")}, "--learning-rate must be"),
        ({"weight_decay": -1.0}, "--weight-decay must be 0 or more"),
        ({"seed": -3}, "--seed must be 0 or more"),
    ],
)
def test_values_out_of_range(changes: dict[str, object], message: str) -> None:
    """A setting that can not work is bad usage, and its option is named."""
    with pytest.raises(ConfigError, match=message) as caught:
        with_changes(TrainConfig(), changes)
    assert caught.value.exit_code == 2


def test_options_not_given_change_nothing() -> None:
    """None means "as it is"; a given value, zero and false included, is taken."""
    base = TrainConfig(seed=5, class_weights=True)
    assert with_changes(base, {"seed": None, "epochs": None}) == base
    assert with_changes(base, {"seed": 0, "class_weights": False}) == TrainConfig()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 7}, "--resume: epochs is 50 in this run, 7 was asked for; leave --epochs out"),
        ({"learning_rate": 0.1}, "learning_rate is 0.002 in this run, 0.1"),
        ({"class_weights": True}, "class_weights is false in this run, true"),
    ],
)
def test_other_settings_can_not_be_resumed_with(changes: dict[str, object], message: str) -> None:
    """Resuming with a contradicting option is refused, the setting and both values named."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_same_config(TrainConfig(), with_changes(TrainConfig(), changes))


def test_survives_its_file() -> None:
    """config.json gives the very settings back."""
    config = TrainConfig(epochs=3, seed=9, class_weights=True)
    assert decode_config(msgspec.json.encode(config), "config.json") == config


@pytest.mark.parametrize("data", [b"", b"[]", b'{"epoch": 3}', b'{"epochs": "many"}'])
def test_a_damaged_file_is_named(data: bytes) -> None:
    """A config.json that is none is an error of one line with its name."""
    with pytest.raises(EdgeEmoError, match=r"^config\.json: not a run's configuration") as caught:
        decode_config(data, "config.json")
    assert isinstance(caught.value, TrainingError)
