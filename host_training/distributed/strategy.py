"""TensorFlow's part of training together: one step on every replica, gradients shared.

Keras' own ``fit`` and ``train_on_batch`` do not run under its multi-worker strategy; a step of our
own inside ``strategy.run`` does. One process with one device is a strategy with one replica.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from host_training.distributed.workers import Workers, slice_of
from host_training.errors import TrainingError
from host_training.frameworks import import_keras, import_tensorflow
from host_training.metrics.inputs import Batch, as_model_input
from host_training.training.learner import KerasLearner

if TYPE_CHECKING:
    import keras


def strategy_of(workers: Workers) -> Any:
    """Return the strategy for all workers, or for all devices of the one there is.

    Created before TensorFlow computes anything, as it asks for.
    """
    tf = import_tensorflow()
    if workers.count > 1:
        tf.get_logger().setLevel("ERROR")  # else every worker lists the cluster on stderr
        return tf.distribute.MultiWorkerMirroredStrategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


class StrategyLearner(KerasLearner):
    """A compiled Keras network whose every step is taken by all replicas together.

    Each replica learns from its part of the batch; gradients are sums over the whole of it, and
    normalisation and dropout are those of the whole: the number of replicas changes a step by
    rounding only.

    Args:
        model: compiled under ``strategy``.
        strategy: from ``strategy_of``.
        loss: of targets and answers, one number a sample.
        batch_size: samples in a batch of all workers together.
        workers: those who take the steps.
    """

    def __init__(
        self, model: "keras.Model", strategy: Any, loss: Any, batch_size: int, workers: Workers
    ) -> None:
        super().__init__(model)
        self._strategy, self._loss = strategy, loss
        self._rows, self._size = batch_size, np.float32(batch_size)
        self._workers = workers
        self._tf = import_tensorflow()
        self._together = self._tf.function(self._step, reduce_retracing=True)

    def step(self, batch: Batch) -> tuple[float, float]:
        """Take a step, see ``Learner``; ``batch`` is this worker's part.

        Raises:
            TrainingError: a worker is missing.
        """
        self._workers.before_step()
        parts = (as_model_input(self._model, batch.inputs), batch.targets, batch.weights)
        try:
            loss, right = (np.float32(value) for value in self._together(*self._placed(parts)))
            # Divided here and not in the graph: rounded as Keras' own means over samples are.
            return float(loss * self._size / self._size), float(right / self._size)
        except self._tf.errors.OpError as error:
            raise self._workers.lost(error) from error

    def _placed(self, parts: Any) -> Any:
        """Give each of this worker's replicas its part."""
        tf, strategy = self._tf, self._strategy
        replicas = strategy.num_replicas_in_sync // self._workers.count
        if replicas == 1:
            return parts
        first = self._workers.index * replicas
        start = slice_of(self._rows, self._workers.index, self._workers.count).start

        def part_of(array: Any) -> Any:
            def value(context: Any) -> Any:
                replica = first + context.replica_id_in_sync_group % replicas
                own = slice_of(self._rows, replica, strategy.num_replicas_in_sync)
                return tf.convert_to_tensor(array[own.start - start : own.stop - start])

            return strategy.experimental_distribute_values_from_function(value)

        return [None if part is None else tf.nest.map_structure(part_of, part) for part in parts]

    def _step(self, inputs: Any, targets: Any, weights: Any) -> Any:
        strategy = self._strategy
        sums = strategy.run(self._replica_step, args=(inputs, targets, weights))
        return [strategy.reduce("SUM", value, axis=None) for value in sums]

    def _replica_step(self, inputs: Any, targets: Any, weights: Any) -> Any:
        tf, model = self._tf, self._model
        with tf.GradientTape() as tape:
            answers = model(inputs, training=True)
            losses = self._loss(targets, answers)
            if weights is not None:
                losses *= weights
            loss = tf.reduce_sum(losses) / self._size
            scaled = model.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, model.trainable_weights)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
        right = tf.equal(tf.argmax(answers, axis=-1), tf.argmax(targets, axis=-1))
        return loss, tf.reduce_sum(tf.cast(right, tf.float32))


def shared_twin(model: "keras.Model", strategy: Any, batch_size: int) -> "keras.Model":
    """Return a network with the same weights whose layers see the whole batch of all replicas.

    With one replica it is the network itself.

    Args:
        model: a functional network, built outside of the strategy.
        strategy: from ``strategy_of``.
        batch_size: samples in a batch of all workers together.

    Raises:
        TrainingError: the batch is too small to be divided.
    """
    if strategy.num_replicas_in_sync == 1:
        return model
    if batch_size < strategy.num_replicas_in_sync:
        raise TrainingError(
            f"a batch of {batch_size} samples cannot be divided among "
            f"{strategy.num_replicas_in_sync} replicas; give a larger --batch-size"
        )
    keras = import_keras()
    from host_training.distributed.shared_dropout import SharedDropout

    def shared(layer: Any) -> Any:
        config = layer.get_config()
        if isinstance(layer, keras.layers.BatchNormalization):
            return type(layer).from_config(config | {"synchronized": True})
        if isinstance(layer, keras.layers.Dropout):
            return SharedDropout(batch_size=batch_size, **config)
        return type(layer).from_config(config)

    with strategy.scope():
        twin = keras.models.clone_model(model, clone_function=shared)
    for own, given in zip(twin.variables, model.variables, strict=True):
        own.assign(given.numpy())
    return twin
