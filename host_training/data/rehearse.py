"""General samples beside one's own: a network that rehearses them does not forget other people."""

from dataclasses import replace

import numpy as np

from edge.contract.labels import in_canonical_order
from host_training.data.partition import Partition
from host_training.data.samples import EXCLUDED, TRAINING, Samples
from host_training.errors import DataError


def with_rehearsal(parts: Partition, general: Samples) -> tuple[Partition, int]:
    """Put general samples behind those that a run learns from; it is validated on its own alone.

    Args:
        parts: of one's own samples, as read or aligned.
        general: of a known form, as read; where they have a split to learn from, no other is taken.

    Returns:
        The parts, with the labels of both and without mesh features, and how many of the training
        samples are one's own.

    Raises:
        DataError: no general sample can be learnt from.
    """
    own, validation = parts.training, parts.validation
    learnable = general.trainable
    if TRAINING in general.splits:
        learnable &= general.split == TRAINING
    general = general.where(learnable)
    if not len(general):
        raise DataError(f"{general.name}: no sample to rehearse; give labelled training samples")
    labels = in_canonical_order({*own.labels, *general.labels})
    general = relabelled(general, labels)
    mine = relabelled(own, labels)

    training = replace(
        mine,
        images=np.concatenate((mine.images, general.images)),
        targets=np.concatenate((mine.targets, general.targets)),
        class_ids=np.concatenate((mine.class_ids, general.class_ids)),
        split=np.concatenate((mine.split, general.split)),
        subjects=None,
        mesh=None,
        aligned=None if mine.aligned is None else np.concatenate((mine.aligned, general.images)),
        votes=None,
        files=None,
        form=f"{own.form}, rehearsing {general.form}",
    )
    remark = f"rehearsing {len(general)} samples of {general.name}"
    validation = replace(relabelled(validation, labels), mesh=None)
    parts = replace(
        parts, training=training, validation=validation, remarks=(*parts.remarks, remark)
    )
    return parts, len(mine)


def relabelled(samples: Samples, labels: tuple[str, ...]) -> Samples:
    """Return the same samples with their answers among more labels."""
    place = np.array([labels.index(label) for label in samples.labels])
    targets = np.zeros((len(samples), len(labels)), np.float32)
    targets[:, place] = samples.targets
    answers = np.where(samples.class_ids == EXCLUDED, EXCLUDED, place[samples.class_ids])
    return replace(samples, labels=labels, targets=targets, class_ids=answers)
