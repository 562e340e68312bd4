"""Settings are checked when they are made, and a run keeps the ones that it began with."""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge.errors import ConfigError, EdgeEmoError
from edgeemo.cli.main import main
from host_training.config import (
    TrainConfig,
    check_same_config,
    decode_config,
    parse_settings,
    recipe,
    with_changes,
)
from host_training.errors import TrainingError
from host_training.training.checkpoint import EpochRow
from host_training.training.optimizer import has_run_out_of_patience, plateau_rate


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "vgg"}, "unknown architecture 'vgg'"),
        ({"epochs": 0}, "--epochs must be above 0, got 0"),
        ({"batch_size": -1}, "--batch-size must be above 0"),
        ({"learning_rate": 0.0}, "--learning-rate must be above 0"),
        ({"learning_rate": float("nan")}, "--learning-rate must be"),
        ({"weight_decay": -1.0}, "--set weight_decay= must be 0 or more"),
        ({"ema": 1.0}, r"--set ema= must lie in \[0, 1\)"),
        ({"teacher_weight": 0.0}, r"--set teacher_weight= must lie in \(0, 1\]"),
        ({"optimizer": "sgd"}, "a setting does not fit: Invalid enum value 'sgd'"),
        ({"cutout": "much"}, "a setting does not fit"),
        ({"seed": -3}, "--seed must be 0 or more"),
        ({"seed": 1 << 32}, r"--seed must lie in 0\.\.4294967295"),
        ({"validation_seed": -1}, "--set validation_seed= must lie in"),
        ({"epochs": "abc"}, 'a setting does not fit: .*--epochs takes a whole number, got "abc"'),
        ({"epochs": 2.5}, "--epochs takes a whole number, got 2.5"),
        ({"epochs": True}, "--epochs takes a whole number, got true"),
        ({"learning_rate": "fast"}, "--learning-rate takes a number, got"),
        ({"learning_rate": float("inf")}, "--learning-rate must be a finite number, got inf"),
        ({"architecture": 3}, "--arch takes a name, got 3"),
        ({"optimizer": "sgd"}, '--set optimizer= takes adamw or nadam, got "sgd"'),
        ({"class_weights": 1}, "--set class_weights= takes true or false, got 1"),
        ({"dropout": "none"}, "--set dropout= takes a number or null"),
        ({"rotation_deg": -1.0}, "--set rotation_deg= must be 0 or more"),
    ],
)
def test_values_out_of_range(changes: dict[str, object], message: str) -> None:
    """A setting that cannot work is bad usage, and its option is named."""
    with pytest.raises(ConfigError, match=message) as caught:
        with_changes(TrainConfig(), changes)
    assert caught.value.exit_code == 2


def test_every_value_that_does_not_fit_is_named() -> None:
    """Two slips in one command line are two lines, not two attempts."""
    with pytest.raises(ConfigError) as caught:
        with_changes(TrainConfig(), {"epochs": "abc"}, {"flip": "maybe", "seed": 1})
    assert [str(problem).partition("; ")[0] for problem in caught.value.args] == [
        'a setting does not fit: --epochs takes a whole number, got "abc"',
        'a setting does not fit: --set flip= takes true or false, got "maybe"',
    ]


def test_options_not_given_change_nothing() -> None:
    """None means "as it is"; a given value, zero and false included, is taken."""
    base = TrainConfig(seed=5, class_weights=True)
    assert with_changes(base, {"seed": None, "epochs": None}) == base
    assert with_changes(base, {"seed": 0, "class_weights": False}) == TrainConfig()


OPTIONS = {
    "architecture": ("micro", '"seed"'),
    "epochs": (3, "4"),
    "batch_size": (16, "32"),
    "learning_rate": (0.1, "0.2"),
    "seed": (5, "6"),
}
"""Settings with an option of their own: a value, and another as text."""


@pytest.mark.parametrize("name", OPTIONS)
def test_a_setting_is_taken_whichever_way_it_is_given(name: str) -> None:
    """`--set` and an option do the same; together they must agree, and nothing is ignored."""
    value, other = OPTIONS[name]
    said = parse_settings([f"{name}={msgspec.json.encode(value).decode()}"])
    nothing = dict.fromkeys(OPTIONS)
    by_set = with_changes(TrainConfig(), nothing, said)
    assert getattr(by_set, name) == value
    assert by_set == with_changes(TrainConfig(), {name: value})
    assert by_set == with_changes(TrainConfig(), {name: value}, said)
    with pytest.raises(ConfigError, match=rf"{name}=.* contradict each other") as caught:
        with_changes(TrainConfig(), {name: value}, parse_settings([f"{name}={other}"]))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("pair", "meant"),
    [("epoch=3", "epochs"), ("EPOCHS=3", "epochs"), ("batchsize=8", "batch_size"),
     ("lr=0.1", None), ("label-smoothing=0.1", "label_smoothing")],
)  # fmt: skip
def test_a_mistyped_setting_is_guessed(pair: str, meant: str | None) -> None:
    """Among fifty names the one that was meant is named once more."""
    with pytest.raises(ConfigError) as caught:
        parse_settings([pair])
    assert str(caught.value).endswith(f"; did you mean {meant}?") == (meant is not None)
    assert ("did you mean" in str(caught.value)) == (meant is not None)


def test_blanks_around_a_setting_say_nothing() -> None:
    """`--set "seed = 5"` is `--set seed=5`."""
    assert parse_settings([" seed = 5 "]) == {"seed": 5}


@pytest.mark.parametrize("given", ["epochs=abc", "learning_rate=fast", "flip=2", "cutout=[]"])
def test_no_type_of_a_programming_language_is_named(given: str) -> None:
    """What a setting takes is said in words alone."""
    with pytest.raises(ConfigError) as caught:
        with_changes(TrainConfig(), {}, parse_settings([given]))
    assert "`" not in str(caught.value)


def test_null_is_a_value() -> None:
    """A setting set to null is null where it may be, and refused where it may not."""
    base = recipe("seed")
    assert with_changes(base, {}, parse_settings(["dropout=null"])).dropout is None
    with pytest.raises(ConfigError, match="--epochs takes a whole number, got null"):
        with_changes(base, {}, parse_settings(["epochs=null"]))


def test_one_setting_has_one_value() -> None:
    """Two values for one setting are refused, the same one twice is not."""
    assert parse_settings(["mixup=0.2", "mixup=0.20"]) == {"mixup": 0.2}
    with pytest.raises(ConfigError, match=r"--set mixup=0\.2 and --set mixup=0\.3 contradict"):
        parse_settings(["mixup=0.2", "mixup=0.3"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--set", "epochs=1", "--set", "architecture=micro"), None),
        (("--epochs", "1", "--set", "epochs=2"), "--epochs 1 and --set epochs=2 contradict"),
        (("--set", "epochs=abc"), 'a whole number, got "abc"'),
        (("--set", "seed=1", "--set", "seed=2"), "--set seed=1 and --set seed=2 contradict"),
    ],
)
def test_the_command_takes_or_refuses_a_setting(
    tmp_path: Path,
    write_folders: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    expected: str | None,
) -> None:
    """`edgeemo train` trains with what was asked for, or ends before it does."""
    data = write_folders(tmp_path / "data", ["happy", "sad"], 6)
    run = tmp_path / "run"
    arguments = ["train", "--data", str(data), "--out", str(run), "--batch-size", "4"]
    if expected is not None:
        assert expected in refused(capsys, *arguments, *words)
        assert not run.exists()
        return
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, *words])
    config = decode_config((run / "config.json").read_bytes(), "config.json")
    assert (config.epochs, config.architecture, config.batch_size) == (1, "micro", 4)
    asked = refused(capsys, *arguments, "--resume", "--recipe", "seed")
    assert "--resume: architecture is" in asked


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the message that a command line is refused with as bad usage."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2
    return capsys.readouterr().err


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


def test_runs_from_before_a_setting() -> None:
    """A run that knew nothing of near duplicates has kept them; a new one leaves them out."""
    fields = msgspec.to_builtins(TrainConfig())
    del fields["keep_near_duplicates"]
    older = decode_config(msgspec.json.encode(fields), "config.json")
    assert older == TrainConfig(keep_near_duplicates=True)
    assert decode_config(b"{}", "config.json") == TrainConfig()


@pytest.mark.parametrize("data", [b"", b"[]", b'{"epoch": 3}', b'{"epochs": "many"}'])
def test_a_damaged_file_is_named(data: bytes) -> None:
    """A config.json that is none is an error of one line with its name."""
    with pytest.raises(EdgeEmoError, match=r"^config\.json: not a run's configuration") as caught:
        decode_config(data, "config.json")
    assert isinstance(caught.value, TrainingError)


def test_settings_are_read_as_json_or_text() -> None:
    """Numbers, truth values and words are taken as what they are, of rows and views alike."""
    given = parse_settings(["mixup=0.2", "class_weights=true", "schedule=plateau", "cutout=0.3"])
    config = with_changes(TrainConfig(), given)
    assert (config.mixup, config.class_weights, config.schedule) == (0.2, True, "plateau")
    assert config.augmentation.cutout == 0.3


@pytest.mark.parametrize("pair", ["mixup", "mixupp=1", "teachers=[]", "=3"])
def test_a_setting_that_is_none(pair: str) -> None:
    """A wrong name is bad usage and lists the right ones; pretrained have options of their own."""
    with pytest.raises(ConfigError, match=r"--set .*: expected NAME=VALUE with a name of .*mixup"):
        parse_settings([pair])


def test_recipes() -> None:
    """A recipe is known by its name, or is another run's config.json without its pretrained."""
    seed = recipe("seed")
    assert (seed.architecture, seed.dropout, seed.batch_size) == ("seed", 0.23, 64)
    assert (seed.optimizer, seed.schedule) == ("nadam", "plateau")
    assert seed.augmentation.rotation_deg == 17
    with pytest.raises(ConfigError, match="unknown recipe 'sed'; expected default, seed"):
        recipe("sed")


def test_a_recipe_from_a_run(tmp_path: Path) -> None:
    """The settings of a run can be taken over, its teachers and first weights not."""
    stored = TrainConfig(epochs=7, teachers=("ab",), initial="cd")
    file = tmp_path / "config.json"
    file.write_bytes(msgspec.json.encode(stored))
    assert recipe(str(file)) == TrainConfig(epochs=7)
    with pytest.raises(ConfigError, match=r"--recipe .*none\.json"):
        recipe(str(tmp_path / "none.json"))


def history(*accuracies: float) -> tuple[EpochRow, ...]:
    return tuple(
        EpochRow(
            epoch=i,
            learning_rate=1,
            loss=1,
            accuracy=0,
            val_loss=1,
            val_accuracy=accuracy,
            val_balanced_accuracy=0,
            seconds=1,
        )
        for i, accuracy in enumerate(accuracies, 1)
    )


@pytest.mark.parametrize(
    ("accuracies", "rate"),
    [
        ((), 1.0),
        ((0.5, 0.5), 1.0),
        ((0.5, 0.5, 0.5), 0.5),
        ((0.5, 0.4, 0.6, 0.6), 1.0),
        ((0.5, 0.5, 0.5, 0.5, 0.5), 0.25),
    ],
)
def test_a_plateau_halves_the_rate(accuracies: tuple[float, ...], rate: float) -> None:
    """Each two epochs without a better one halve the rate; a better one starts the count anew."""
    config = TrainConfig(schedule="plateau", plateau_patience=2, learning_rate=1.0)
    assert plateau_rate(config, history(*accuracies)) == rate


def test_patience_runs_out() -> None:
    """A run stops so many epochs after its best, and never where no patience was set."""
    rows = history(0.5, 0.7, 0.6, 0.7)
    assert has_run_out_of_patience(TrainConfig(patience=2), rows)
    assert not has_run_out_of_patience(TrainConfig(patience=3), rows)
    assert not has_run_out_of_patience(TrainConfig(), rows)


def test_every_setting_is_documented_with_its_default() -> None:
    """docs/training.md has a line for each setting, and says the default that holds."""
    text = (Path(__file__).parents[2] / "docs/training.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE))
    base = TrainConfig()
    defaults = msgspec.to_builtins(base) | msgspec.to_builtins(base.augmentation)
    told_elsewhere = {"augmentation", "teachers", "initial", "anchor_model"}
    assert set(rows) == set(defaults) - told_elsewhere
    for name, said in rows.items():
        shown = said.strip("` ")
        if defaults[name] is not None:
            value = shown if isinstance(defaults[name], str) else msgspec.json.decode(shown)
            assert value == defaults[name], name
