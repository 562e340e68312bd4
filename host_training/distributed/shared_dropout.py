"""Dropout whose mask is one of the whole batch, of which each replica takes its part.

Only imported once TensorFlow is known to be there.
"""

from typing import Any

import keras
import tensorflow as tf

from host_training.distributed.workers import slice_of


class SharedDropout(keras.layers.Dropout):
    """Drops what ``keras.layers.Dropout`` would drop in one process.

    Args:
        batch_size: samples in a batch of all replicas together.
        options: of ``keras.layers.Dropout``.
    """

    def __init__(self, *, batch_size: int, **options: Any) -> None:
        super().__init__(**options)
        self._batch_size = batch_size

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the inputs, some of them 0 and the others larger while the network learns."""
        if not training or self.rate == 0:
            return inputs
        context = tf.distribute.get_replica_context()
        whole = tf.ones((self._batch_size, *inputs.shape[1:]), inputs.dtype)
        kept = keras.random.dropout(whole, self.rate, seed=self.seed_generator)
        own = slice_of(
            self._batch_size, context.replica_id_in_sync_group, context.num_replicas_in_sync
        )
        return inputs * kept[own.start : own.stop]
