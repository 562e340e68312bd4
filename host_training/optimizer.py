"""The network of a run, compiled: AdamW, a linear warm-up, then a cosine down to zero."""

from typing import TYPE_CHECKING

from host_training.architectures import build
from host_training.config import TrainConfig
from host_training.frameworks import import_keras

if TYPE_CHECKING:
    import keras


def compiled_model(config: TrainConfig, classes: int, steps_per_epoch: int) -> "keras.Model":
    """Build a run's untrained network with everything that training it takes.

    AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019), its rate by
    the step: linear from 0 to the peak, then a cosine to 0 (the same authors, "SGDR", ICLR 2017).

    Args:
        config: the settings; the same ones always give the same initial state.
        classes: number of outputs.
        steps_per_epoch: batches an epoch, which the schedule is made for.
    """
    model = build(config.architecture, classes, seed=config.seed)
    keras = import_keras()
    steps = config.epochs * steps_per_epoch
    warmup = max(1, round(min(config.warmup_epochs / config.epochs, 0.2) * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, steps - warmup),
        warmup_target=config.learning_rate,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay)
    # Decay pulls kernels towards zero; on a normalisation's scale and shift it only does harm.
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    # XLA is slower than oneDNN's kernels on CPUs (measured: 1.4 times), so it stays off.
    model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    # The moments must exist before a checkpoint can be put into them.
    optimizer.build(model.trainable_variables)
    return model
