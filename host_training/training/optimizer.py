"""The network of a run, what trains it, and how fast it learns in each epoch."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from host_training.architectures import build
from host_training.config import TrainConfig
from host_training.distributed.strategy import StrategyLearner, shared_twin
from host_training.distributed.workers import ALONE, Workers
from host_training.frameworks import (
    import_keras,
    import_tensorflow,
    import_torch,
    keras_backend,
    precision_policy,
)
from host_training.training.checkpoint import EpochRow, best_row
from host_training.training.learner import KerasLearner, Learner, adjusted_cross_entropy, log_prior

if TYPE_CHECKING:
    import keras


def untrained_model(config: TrainConfig, classes: int) -> "keras.Model":
    """Build a run's network; the same settings always give the same weights."""
    with precision_policy(config.precision if config.engine == "keras" else "float32"):
        return build(config.architecture, classes, dropout=config.dropout, seed=config.seed)


def learner_of(
    model: "keras.Model",
    config: TrainConfig,
    steps_per_epoch: int,
    targets: NDArray[np.float32],
    *,
    strategy: Any = None,
    workers: Workers = ALONE,
) -> Learner:
    """Return what trains a network, at its first weights.

    AdamW is Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019; Nadam is
    Dozat, "Incorporating Nesterov Momentum into Adam", 2016.

    Args:
        model: from ``untrained_model``, with the weights that it starts from.
        config: the settings.
        steps_per_epoch: batches an epoch, which the schedule is made for.
        targets: of the training rows, float32 ``(n, k)``, each times how often an epoch shows it.
        strategy: from ``strategy_of``; TensorFlow's own for one replica when None.
        workers: those who take the steps.

    Raises:
        TrainingError: the engine asked for is not there, or cannot train such a network.
    """
    offsets = config.logit_adjustment * log_prior(targets) if config.logit_adjustment else None
    if config.engine == "torch":
        import_torch()
        from host_training.training.torch_learner import TorchLearner

        return TorchLearner(model, config, steps_per_epoch, offsets)
    plain = import_keras().losses.categorical_crossentropy
    loss = plain if offsets is None else adjusted_cross_entropy(offsets)
    if keras_backend() != "tensorflow":
        return KerasLearner(_compiled(model, config, steps_per_epoch, loss))
    strategy = strategy or import_tensorflow().distribute.get_strategy()
    size = min(config.batch_size, len(targets))
    model = shared_twin(model, strategy, size)
    with strategy.scope():
        model = _compiled(model, config, steps_per_epoch, loss)
    return StrategyLearner(model, strategy, loss, size, workers)


def _compiled(
    model: "keras.Model", config: TrainConfig, steps_per_epoch: int, loss: Any
) -> "keras.Model":
    # XLA is slower than oneDNN's kernels on CPUs (measured: 1.4 times), so it stays off there.
    compiler: Any = False if keras_backend() == "tensorflow" else "auto"
    optimizer = _optimizer(config, steps_per_epoch)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=compiler)
    # The moments must exist before a checkpoint can be put into them.
    model.optimizer.build(model.trainable_variables)
    return model


def _optimizer(config: TrainConfig, steps_per_epoch: int) -> Any:
    keras = import_keras()
    rate = _cosine(config, steps_per_epoch) if config.schedule == "cosine" else config.learning_rate
    if config.optimizer == "nadam":
        return keras.optimizers.Nadam(rate)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
    # Decay pulls kernels towards zero; on a normalisation's scale and shift it only does harm.
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def _cosine(config: TrainConfig, steps_per_epoch: int) -> Any:
    """By the step: linear from 0 to the peak, then a cosine to 0 ("SGDR", ICLR 2017)."""
    steps, warmup = _steps(config, steps_per_epoch)
    schedules = import_keras().optimizers.schedules
    if not warmup:
        return schedules.CosineDecay(config.learning_rate, decay_steps=max(1, steps))
    return schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, steps - warmup),
        warmup_target=config.learning_rate,
        warmup_steps=warmup,
    )


def cosine_rate(config: TrainConfig, steps_per_epoch: int, step: int) -> float:
    """Return the learning rate of a step, counted from 0, as Keras' schedule has it."""
    steps, warmup = _steps(config, steps_per_epoch)
    if step < warmup:
        return config.learning_rate * step / warmup
    share = min(1.0, (step - warmup) / max(1, steps - warmup))
    return config.learning_rate * (1 + math.cos(math.pi * share)) / 2


def _steps(config: TrainConfig, steps_per_epoch: int) -> tuple[int, int]:
    """Return all steps of a run, and those of its warm-up."""
    steps = config.epochs * steps_per_epoch
    return steps, round(min(config.warmup_epochs / config.epochs, 0.2) * steps)


def plateau_rate(config: TrainConfig, history: Sequence[EpochRow]) -> float:
    """Return the learning rate of the next epoch under ``plateau``.

    Halved whenever ``plateau_patience`` epochs have brought no better validation accuracy; a
    function of the history alone, so that a resumed run goes on at the same rate.
    """
    rate, best, waited = config.learning_rate, float("-inf"), 0
    for row in history:
        waited = 0 if row.val_accuracy > best else waited + 1
        best = max(best, row.val_accuracy)
        if waited >= config.plateau_patience:
            rate, waited = rate / 2, 0
    return rate


def has_run_out_of_patience(config: TrainConfig, history: tuple[EpochRow, ...]) -> bool:
    """Tell whether ``patience`` epochs have gone by since the best one."""
    if not config.patience or not history:
        return False
    return len(history) - best_row(history).epoch >= config.patience
