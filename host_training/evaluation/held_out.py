"""The samples that a run held out itself, found again in the data that it was trained on."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.errors import ConfigError
from host_training.data.samples import HELD_OUT, TRAINING, Samples
from host_training.runs.directory import RUN, RunDirectory
from host_training.runs.known_pictures import VALIDATED
from host_training.runs.provenance import ModelProvenance
from host_training.training.run import divided


def with_held_out(samples: Samples, model: Path, origin: ModelProvenance) -> Samples:
    """Return the samples with those that a model's run has held out named ``Validation``.

    Args:
        samples: the whole data set that the run was trained on, with the same labels and protocol.
        model: a run directory, or the file in one: its settings divide the data as they did. Of a
            bundle the pictures beside it tell, see ``host_training.runs.known_pictures``.
        origin: of the model.

    Raises:
        ConfigError: this is other data, or nothing says what was held out.
    """
    run = RunDirectory(model if model.is_dir() else model.parent)
    if (run.path / RUN).is_file() and not origin.is_own:
        parts = divided(samples, run.config())
        if parts.validation.fingerprint().fingerprint != origin.validation:
            raise ConfigError(
                f"--split {HELD_OUT}: what {model} held out is not in this data; give the --data, "
                "--labels, --protocol and --prepared that it was trained on"
            )
        chosen = np.zeros(len(samples), bool)
        chosen[parts.held_out] = True
    elif origin.known is not None:
        chosen = origin.known.places(samples.images) == VALIDATED
    else:
        raise ConfigError(
            f"--split {HELD_OUT}: nothing says which samples {model} held out; give the run "
            "directory that it was made from"
        )
    if not chosen.any():
        raise ConfigError(
            f"--split {HELD_OUT}: none of the pictures that {model} held out is in this data; give "
            "the --data that it was trained on"
        )
    return replace(samples, split=np.where(chosen, HELD_OUT, TRAINING))
