"""What a training run is asked to do: everything that its result depends on."""

import math
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_type_hints

import msgspec

from edge.contract.metadata import Crops
from edge.errors import ConfigError
from host_training.architectures import architecture
from host_training.errors import TrainingError
from host_training.training.augment import Augmentation

Targets = Literal["votes", "hard", "privileged"]
Optimizer = Literal["adamw", "nadam"]
Schedule = Literal["cosine", "plateau"]
Engine = Literal["keras", "torch"]
Precision = Literal["float32", "bfloat16", "mixed"]


# Written so that NaN is refused, too.
_RANGES: Final[tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...]] = (
    (
        ("epochs", "batch_size", "learning_rate", "plateau_patience", "teacher_views"),
        lambda value: value > 0,
        "be above 0",
    ),
    (
        (
            "weight_decay",
            "warmup_epochs",
            "seed",
            "patience",
            "mixup",
            "logit_adjustment",
            "classifier_retraining",
            "rehearsal",
        ),
        lambda value: value >= 0,
        "be 0 or more",
    ),
    (
        ("ema", "anchor", "label_smoothing", "dropout"),
        lambda value: 0 <= value < 1,
        "lie in [0, 1)",
    ),
    (("teacher_weight", "votes_weight"), lambda value: 0 < value <= 1, "lie in (0, 1]"),
    (("validation_share",), lambda value: 0 < value <= 0.5, "lie in (0, 0.5]"),
    (("seed", "validation_seed"), lambda value: 0 <= value < 1 << 32, "lie in 0..4294967295"),
)


def _numbers(settings: msgspec.Struct) -> list[tuple[str, float]]:
    values = msgspec.structs.asdict(settings).items()
    return [(name, value) for name, value in values if type(value) in (int, float)]


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A run's settings, as ``config.json`` keeps them.

    Attributes:
        architecture: a name in ``host_training.architectures``.
        dropout: its rate; the architecture's own when None.
        epochs: passes over the training rows.
        patience: stop after so many epochs without a better one; 0 for never.
        batch_size: rows a step.
        optimizer: ``adamw`` or ``nadam`` (which has no weight decay).
        learning_rate: the peak, after the warm-up.
        weight_decay: decoupled (Loshchilov and Hutter, ICLR 2019), on kernels only.
        schedule: ``cosine`` down to 0, or ``plateau``: half as fast after each
            ``plateau_patience`` epochs without a better validation accuracy.
        plateau_patience: for the latter.
        warmup_epochs: linear rise from 0, for ``cosine``; a fifth of the run at most.
        ema: decay of an exponential moving average of the weights, which is what is validated and
            kept; 0 for none.
        anchor: share of the anchor model's weights in those that are validated and kept
            (``host_training.training.weight_average``); 0 for none.
        seed: of weights, order, views and dropout.
        targets: ``votes``, people's distribution where the data has one; ``hard``, the one right
            answer of the protocol (rows without one are left out); or ``privileged``, that answer
            and which answers people's votes make likely (``host_training.training.targets``).
        votes_weight: the latter's share of a ``privileged`` target.
        label_smoothing: this share of each target is spread over all emotions.
        class_weights: weigh rows inversely to how common their label is.
        logit_adjustment: tau of the logit-adjusted loss; 0 for plain cross-entropy
            (``host_training.training.learner``).
        keep: the ``best`` epoch on the validation samples, or the ``last``, which under ``cosine``
            has converged where an earlier one may have been lucky.
        precise_batch_norm: after the last epoch, estimate the statistics of batch normalisation
            anew, for the weights that are kept (``host_training.training.precise_batch_norm``).
        classifier_retraining: after the last epoch, fit the last layer anew on all that lies below
            it; the penalty on each weight's squared change, 0 to leave it as it is
            (``host_training.training.classifier``).
        mixup: alpha of the Beta distribution that pairs of rows are mixed by; 0 for none.
        augmentation: see ``host_training.training.augment``.
        crops: pictures as they are, aligned ones from prepared data, or both: each row is shown
            in every other epoch, on average, as the one and as the other.
        teachers: SHA-256 of the models that answer beside the labels, in order.
        teacher_weight: their share of each target.
        teacher_views: the teachers are asked about the views of so many epochs, which then recur.
        initial: SHA-256 of the model whose weights the run starts from.
        anchor_model: SHA-256 of the model that ``anchor`` is a share of; ``initial`` when None.
        last_layer_first: before the first epoch the last layer is fitted by itself
            (``host_training.training.last_layer``).
        rehearsal: general samples that an epoch shows for each of one's own; needs `--with`.
        engine: what takes the steps: ``keras``, or ``torch``, which trains the same network with
            the same batches (``host_training.training.torch_learner``).
        precision: ``float32``; ``bfloat16`` lets a CPU multiply in bfloat16; ``mixed`` is Keras'
            policy for a GPU.
        deterministic: ask TensorFlow for operations that give the same bits each time.
        keep_duplicates: learn also from pictures that are among the validation rows.
        keep_near_duplicates: learn also from near duplicates of them.
        validation_share: of the training rows, where the data names no validation split.
        validation_groups: how that part is held out: ``auto``, disjoint by subject or picture, or
            ``none``, at random: it leaks wherever pictures resemble each other.
        validation_seed: of the choice of that part; ``seed`` when None.
    """

    architecture: str = "compact"
    dropout: float | None = None
    epochs: int = 50
    patience: int = 0
    batch_size: int = 128
    optimizer: Optimizer = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 2e-2
    schedule: Schedule = "cosine"
    plateau_patience: int = 5
    warmup_epochs: float = 2.0
    ema: float = 0.0
    anchor: float = 0.0
    seed: int = 0
    targets: Targets = "votes"
    votes_weight: float = 0.6
    label_smoothing: float = 0.0
    class_weights: bool = False
    logit_adjustment: float = 0.0
    keep: Literal["best", "last"] = "best"
    precise_batch_norm: bool = False
    classifier_retraining: float = 0.0
    mixup: float = 0.0
    augmentation: Augmentation = Augmentation()
    crops: Crops = "raw"
    teachers: tuple[str, ...] = ()
    teacher_weight: float = 0.7
    teacher_views: int = 16
    initial: str | None = None
    anchor_model: str | None = None
    last_layer_first: bool = False
    rehearsal: float = 0.0
    engine: Engine = "keras"
    precision: Precision = "float32"
    deterministic: bool = False
    keep_duplicates: bool = False
    keep_near_duplicates: bool = False
    validation_share: float = 0.2
    validation_groups: Literal["auto", "none"] = "auto"
    validation_seed: int | None = None

    def __post_init__(self) -> None:
        architecture(self.architecture)  # refuses an unknown one
        views = _numbers(self.augmentation)
        for name, value in (*_numbers(self), *views):
            if not math.isfinite(value):
                raise ConfigError(f"{_option(name)} must be a finite number, got {value}")
        for name, value in views:
            if value < 0:
                raise ConfigError(f"{_option(name)} must be 0 or more, got {value}")
        for names, fits, words in _RANGES:
            for name in names:
                value = getattr(self, name)
                if value is not None and not fits(value):
                    raise ConfigError(f"{_option(name)} must {words}, got {value}")


RECIPES: Final[dict[str, TrainConfig]] = {
    "default": TrainConfig(),
    "seed": TrainConfig(
        architecture="seed",
        dropout=0.23,
        epochs=60,
        patience=11,
        batch_size=64,
        optimizer="nadam",
        learning_rate=1e-3,
        weight_decay=0.0,
        schedule="plateau",
        plateau_patience=7,
        warmup_epochs=0.0,
        targets="hard",
        augmentation=Augmentation(
            flip=True, rotation_deg=17.0, zoom=0.0, shift=0.15, contrast=0.0, brightness=0.0
        ),
        keep_duplicates=True,
        validation_share=0.1,
        validation_groups="none",
    ),
    "robust": TrainConfig(
        learning_rate=1e-3,
        ema=0.999,
        dropout=0.2,
        augmentation=Augmentation(
            degrade=0.5,
            blur=2.8,
            motion=10.0,
            noise=26.0,
            gamma=0.9,
            darkness=0.85,
            overexposure=2.4,
            resolution=16.0,
        ),
    ),
    "fine-tune": TrainConfig(
        epochs=20, learning_rate=5e-4, warmup_epochs=1.0, batch_size=32, ema=0.99
    ),
    "adapt": TrainConfig(
        epochs=20,
        patience=5,
        learning_rate=3e-4,
        warmup_epochs=1.0,
        batch_size=32,
        ema=0.99,
        crops="aligned",
        last_layer_first=True,
        rehearsal=3.0,
    ),
}
"""Settings to start from, by name: `--recipe`. Single options change them further."""


def recipe(name: str) -> TrainConfig:
    """Return the settings of a recipe or of a run's ``config.json``, without models learnt from.

    Raises:
        ConfigError: no such recipe, no such file, or one that is no configuration.
    """
    if name in RECIPES:
        return RECIPES[name]
    path = Path(name)
    if path.suffix != ".json":
        raise ConfigError(
            f"unknown recipe {name!r}; expected {', '.join(RECIPES)}, or a run's config.json"
        )
    try:
        stored = decode_config(path.read_bytes(), name)
    except OSError as error:
        raise ConfigError(f"--recipe {name}: cannot be read ({error.strerror})") from error
    except TrainingError as error:
        raise ConfigError(f"--recipe {name}: {error}") from error
    return msgspec.structs.replace(stored, teachers=(), initial=None, anchor_model=None)


def parse_settings(given: Sequence[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` pairs; values are JSON, or else text.

    Raises:
        ConfigError: not such a pair, a name that is no setting, or one with two values.
    """
    known = (*TrainConfig.__struct_fields__, *Augmentation.__struct_fields__)
    settings: dict[str, Any] = {}
    for pair in given:
        name, separator, text = (part.strip() for part in pair.partition("="))
        if not separator or name not in known or name in _OF_OTHER_OPTIONS:
            names = [name for name in known if name not in _OF_OTHER_OPTIONS]
            near = [] if name in known else get_close_matches(name.lower(), names, 1, _ALIKE)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(
                f"--set {pair}: expected NAME=VALUE with a name of {', '.join(names)}{meant}"
            )
        value = _value(text)
        if settings.setdefault(name, value) != value:
            raise ConfigError(
                f"--set {name}={_text(settings[name])} and --set {pair} contradict each other; "
                "give one of them"
            )
    return settings


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def with_changes(
    base: TrainConfig, options: Mapping[str, Any], settings: Mapping[str, Any] | None = None
) -> TrainConfig:
    """Return ``base`` with some settings changed.

    Settings of the augmentation are given by their own names, such as ``cutout``.

    Args:
        base: what they are changed in.
        options: by setting; None is an option that was not given, and changes nothing.
        settings: from ``parse_settings``; taken as they are, None too.

    Raises:
        ConfigError: an option and ``--set`` contradict each other, or values do not fit: each is
            named.
    """
    settings = settings or {}
    given = {name: value for name, value in options.items() if value is not None}
    for name in given.keys() & settings.keys():
        if given[name] != settings[name]:
            raise ConfigError(
                f"{_option(name)} {given[name]} and --set {name}={_text(settings[name])} "
                "contradict each other; give one of them"
            )
    fields: dict[str, Any] = msgspec.to_builtins(base)
    views = fields["augmentation"]
    changes = given | dict(settings)
    if problems := [text for name in changes if (text := _misfit(name, changes[name]))]:
        raise ConfigError(*problems)
    for name, value in changes.items():
        (views if name in views else fields)[name] = value
    return msgspec.convert(fields, TrainConfig)


def _misfit(name: str, value: Any) -> str | None:
    """Say why a value is not of a setting's type; None where it is."""
    kind = (get_type_hints(TrainConfig) | get_type_hints(Augmentation))[name]
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        # Types of a programming language are no news: what is taken is said in words.
        reason = "" if "`" in str(error) else f"{error}; "
        return (
            f"a setting does not fit: {reason}{_option(name)} takes {_words(kind)}, got "
            f"{_text(value)}"
        )
    return None


def _words(kind: Any) -> str:
    """Say what values a type has."""
    named = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}
    if kind in named:
        return named[kind]
    parts = [
        "null" if part is type(None) else str(named.get(part, part)) for part in get_args(kind)
    ]
    return " or ".join(parts)


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

    A run from before ``keep_near_duplicates`` was a setting has kept them.

    Raises:
        TrainingError: it is not a configuration of a run.
    """
    try:
        fields = msgspec.json.decode(data)
        if isinstance(fields, dict) and "keep_duplicates" in fields:
            fields.setdefault("keep_near_duplicates", True)
        return msgspec.convert(fields, TrainConfig)
    except msgspec.MsgspecError as error:
        raise TrainingError(f"{where}: not a run's configuration ({error})") from error


_ALIKE: Final = 0.7
"""How much of two names agrees where one is taken for a slip of the other, 0 to 1."""
_OF_OTHER_OPTIONS: Final = ("augmentation", "teachers", "initial", "anchor_model")
_OPTIONS: Final = {
    "architecture": "--arch",
    "initial": "--init",
    "teachers": "--teacher",
    "anchor_model": "--anchor",
}


def _option(name: str) -> str:
    if name in ("epochs", "batch_size", "learning_rate", "seed"):
        return f"--{name.replace('_', '-')}"
    return _OPTIONS.get(name, f"--set {name}=")


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
