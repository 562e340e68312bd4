"""The decision of a bundle: prior, tau and temperature, chosen on a conversion's own samples."""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from converters.errors import ConversionError
from converters.model.model_file import TrainedModel
from converters.parity.check import tflite_probabilities
from converters.request import ConvertRequest, Prior
from edge.contract.decision import Decision, leading
from edge.contract.metadata import Dataset
from edge.contract.temperature import fit_temperature
from edge.inference.emotion_model import EmotionModel

FEWEST: Final = 10
"""Fewer samples are not asked for a temperature."""
TAUS: Final = tuple(step / 20 for step in range(21))
"""Those that ``auto`` chooses from: 0 to 1 by 0.05."""


def decide(
    request: ConvertRequest,
    trained: TrainedModel,
    model: EmotionModel,
    probabilities: NDArray[np.floating],
) -> Decision:
    """Choose what makes scores of a converted model's output.

    Args:
        request: tells samples, prior, tau and temperature.
        trained: the model that was converted.
        model: its converted form.
        probabilities: of the latter for ``request.evaluation``, floats ``(n, k)``, as they come.

    Raises:
        ConversionError: tau is out of bounds, or there is no prior for it.
    """
    labels = trained.run.labels
    answers = request.evaluation.labels_for(labels)
    untempered = _with_prior(labels, request.prior)
    if request.tau == "auto":
        _need_prior(untempered, "auto")
        tau = largest_tau(probabilities, answers, untempered, request.gate.max_drop)
    else:
        tau = request.tau
        if tau:
            _need_prior(untempered, f"{tau:g}")
    try:
        decision = untempered.with_tau(tau)
    except ValueError as error:
        raise ConversionError(f"--tau: {error}") from error
    temperature, source = _temperature(request, trained, model, decision, probabilities)
    return msgspec.structs.replace(decision, temperature=temperature, temperature_from=source)


def largest_tau(
    probabilities: NDArray[np.floating],
    answers: NDArray[np.int64],
    decision: Decision,
    max_drop: float,
) -> float:
    """Return the largest of ``TAUS`` that costs no more than ``max_drop`` of accuracy.

    The rule stands in docs/decisions, number 77, older than any measurement of it.

    Args:
        probabilities: ``(n, k)``, as they come.
        answers: the right ones, ``(n,)``.
        decision: with a prior.
        max_drop: against tau 0, as a share.
    """

    def right(tau: float) -> int:
        scores = decision.with_tau(tau).adjusted(probabilities)
        return int((leading(scores) == answers).sum())

    # Counted in samples: a share that is met exactly shall not fail by a bit.
    allowed = int(max_drop * len(answers) + 1e-9)
    without = right(0.0)
    return max(tau for tau in TAUS if without - right(tau) <= allowed)


def _with_prior(labels: tuple[str, ...], prior: Prior | None) -> Decision:
    if prior is None:
        return Decision()
    shares = np.array([prior.shares.get(label, 0.0) for label in labels], np.float64)
    if not shares.sum() > 0:
        return Decision()
    rounded = tuple(float(share) for share in np.round(shares / shares.sum(), 6))
    return Decision(prior=rounded, prior_from=prior.source)


def _need_prior(decision: Decision, tau: str) -> None:
    if not decision.prior:
        raise ConversionError(
            f"tau {tau} needs a prior: how frequent each of the model's emotions is in the samples "
            "that it learnt from; give data with these emotions, or tau 0"
        )


def _temperature(
    request: ConvertRequest,
    trained: TrainedModel,
    model: EmotionModel,
    decision: Decision,
    probabilities: NDArray[np.floating],
) -> tuple[float, str]:
    """Return a temperature, and what it was fitted on in words.

    A model is surer of samples that it has learnt: there the run's own temperature holds, which it
    fitted on samples held out.
    """
    rows, run, extra = request.evaluation, trained.run, request.corrupted
    if request.temperature is not None:
        return request.temperature, "nothing: given"
    if len(rows) < FEWEST or _learnt(run.training_data, rows.dataset):
        return run.temperature, "held-out samples of the training run, at tau 0"
    shown, right = [probabilities], [rows.labels_for(run.labels)]
    source = f"{len(rows):,} clean samples of {rows.dataset.name} {rows.dataset.split}"
    if extra is not None:
        shown.append(tflite_probabilities(model, extra.images, extra.mesh))
        right.append(extra.labels_for(run.labels))
        source += ", and each corrupted once"
    adjusted = decision.adjusted(np.concatenate(shown))
    return round(fit_temperature(adjusted, np.concatenate(right)), 4), source


def _learnt(training: Dataset, measured: Dataset) -> bool:
    """Tell whether a model has learnt from samples that it is measured on."""
    learnt, shown = set(training.split.split("+")), set(measured.split.split("+"))
    return training.name == measured.name and bool(learnt & shown)
