"""Statistics of batch normalisation, estimated anew for weights that no step has used.

Averaged weights, over steps or with an anchor, give other activations than the weights that the
moving statistics were gathered from. Izmailov et al., "Averaging weights leads to wider optima and
better generalization", UAI 2018 (arXiv 1803.05407); the estimate, a plain mean over batches at
fixed weights, is PreciseBN of Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021
(arXiv 2105.07576).
"""

from typing import TYPE_CHECKING

from edge.contract.mesh_features import FeatureNorm
from host_training.architectures import build
from host_training.config import TrainConfig
from host_training.data.samples import Samples
from host_training.frameworks import import_keras
from host_training.metrics.inputs import as_model_input
from host_training.training.batches import epoch_after_the_last

if TYPE_CHECKING:
    import keras


def estimate_batch_norm(
    model: "keras.Model",
    rows: Samples,
    config: TrainConfig,
    norm: FeatureNorm | None = None,
    mine: int | None = None,
) -> None:
    """Replace the statistics of a trained network's batch normalisation, in place.

    They become the mean over the batches of one more epoch of views, which no epoch of the run has
    shown, at the network's own weights and without dropout.

    Args:
        model: in the form that is kept; a network without batch normalisation stays as it is.
        rows: to learn from.
        config: of the run.
        norm: of the network's mesh features, where it takes them.
        mine: so many of the first rows are one's own, see ``TrainingBatches``.
    """
    # The form that is trained, for that one sees each picture once and not its mirror image too.
    trained = build(config.architecture, len(rows.labels), dropout=0.0)
    trained.set_weights(model.get_weights())
    kind = import_keras().layers.BatchNormalization
    layers = [layer for layer in trained.layers if isinstance(layer, kind)]
    if not layers:
        return
    for count, batch in enumerate(epoch_after_the_last(rows, config, norm, mine=mine)):
        for layer in layers:
            layer.momentum = count / (count + 1)
        trained(as_model_input(trained, batch.inputs), training=True)
    model.set_weights(trained.get_weights())
