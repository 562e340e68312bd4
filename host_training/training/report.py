"""The reports at the end of a run: figures and pictures, made anew from its files at any time."""

from collections.abc import Sequence
from functools import partial

import msgspec

from edge.contract.temperature import fit_temperature
from host_training.data.samples import Samples
from host_training.metrics.plots import draw_confusion_matrix, draw_learning_curves
from host_training.metrics.predict import keras_probabilities, measured, predict
from host_training.metrics.scores import Metrics
from host_training.runs.directory import METRICS, RunDirectory
from host_training.training.checkpoint import EpochRow


def write_reports(run: RunDirectory, validation: Samples, history: Sequence[EpochRow]) -> Metrics:
    """Measure ``model.keras`` on the validation rows and write figures and pictures.

    The temperature that makes its confidence honest is fitted on the same rows, one number on all
    of them, and kept in ``run.json``; figures and pictures are of the answers as they come.

    Raises:
        TrainingError: the model cannot be opened, or the disk refuses.
    """
    record = run.record()
    answers = predict(validation, partial(keras_probabilities, run.path))
    temperature = round(fit_temperature(answers.probabilities, answers.right), 4)
    run.write_record(msgspec.structs.replace(record, temperature=temperature))
    figures = measured(answers)
    run.write_json(METRICS, figures)
    run.write_answers(answers.are_right)
    run.write_history(history)
    draw_learning_curves(history, run.path / "learning_curves.png", record.run_id)
    draw_confusion_matrix(figures, run.path / "confusion_matrix.png", record.run_id)
    return figures
