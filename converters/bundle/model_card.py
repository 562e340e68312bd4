"""``MODEL_CARD.md``: what a model was made from, how well it does, what it must not be used for.

The form follows Mitchell et al., "Model Cards for Model Reporting", FAT* 2019. Every figure comes
from the metadata and the parity report of the same bundle.
"""

from typing import Final

from converters.bundle.decision_view import decision_lines
from converters.parity.check import ParityReport
from converters.parity.view import NOT_APPLICABLE, gate_words
from edge.contract.metadata import Dataset, Metadata
from host_training.metrics.scores import wilson_interval

_LIMITS = """\
## What it cannot do

- The model names the **expression in a picture**. What a person feels cannot be read off a face:
  the same expression goes with different feelings, and the same feeling with different expressions
  (Barrett et al., "Emotional Expressions Reconsidered", 2019).
- It always names one of its expressions, also for a face that shows none of them, two at once, or
  a speaking mouth. It tells nothing of how strong an expression is.
- It repeats the biases of the people who chose and labelled its pictures, and is worse for faces
  that are rare there.
- The recalls above are for that kind of picture. Other cameras, light, angles, masks, glasses and
  beards change them; measure on your own.
- Scores are not probabilities of an emotion in a person, only of a label in such a data set.
{hardly_known}
## For whom it was not made

- Anyone it was not measured on. Age, gender, skin tone and culture do not stand in its data, so
  nobody knows how well it does for any of these groups, and no figure above is for one of them.
- People whose faces move otherwise than most: after a stroke, with a facial palsy, Parkinson's
  disease or Botox, autistic people; nor for infants, masks, drawings and animals.
- Faces that are turned far to the side or mostly covered.

## Not for

- Decisions about people: hiring, grading, policing, insurance, credit, diagnosis, lie detection.
- Workplaces and education in the European Union: inferring emotions of people there is prohibited,
  except for medical or safety reasons (Regulation (EU) 2024/1689, Article 5(1)(f)).
- Watching people who do not know of it or did not agree to it.
"""

_FORCED = """
**This model did not meet the gate of its conversion and was written with `--force`.** Read what the
conversion cost before you use it.
"""


_WEB: Final = """\
FER2013's pictures were found on the web by the names of emotions, cut out by a face detector and
made 48 x 48 grey (Goodfellow et al., "Challenges in Representation Learning", 2013): posed, acted
and caught faces, uneven in age, skin tone, gender and culture, some of them no face at all."""
_SOURCES: Final = {
    "fer2013": f"{_WEB}\nThe labels are those of the search, checked by people.",
    "ferplus": f"""\
{_WEB}
The labels are FER+ (Barsoum et al., ICMI 2016): ten people's votes a picture, who often disagreed;
an answer that one of them alone gave does not count.""",
}
_OWN_DATA: Final = "What its pictures show, and who labelled them, only their owner can tell."
_CROPS: Final = {
    "raw": "The model learnt from the pictures as they are.",
    "aligned": "The model learnt from crops that the device's own code had aligned.",
    "both": """\
The model learnt from the pictures as they are and, in turn, from crops that the device's own code
had aligned.""",
}
_LOW_RECALL: Final = 0.4


def model_card(metadata: Metadata, report: ParityReport, validation: Dataset | None = None) -> str:
    """Write the model card of a bundle as Markdown.

    Args:
        metadata: of the bundle.
        report: of the same conversion.
        validation: the rows that steered the training, where they are known: figures measured on
            them flatter the model, and the card says so.
    """
    return "\n".join(
        (
            _summary(metadata, report),
            _data(metadata, report),
            _accuracy(metadata, report, validation),
            _cost(report),
            _limits(metadata, report),
        )
    )


def _summary(metadata: Metadata, report: ParityReport) -> str:
    return f"""\
# {metadata.name}
{_FORCED if metadata.forced else ""}
Tells {len(metadata.labels)} facial expressions apart: {", ".join(metadata.labels)}.

| | |
|---|---|
| architecture | {metadata.architecture}, {metadata.parameters:,} parameters |
| form | {metadata.quantization} TFLite, {report.size_bytes:,} bytes |
| input | {_input(metadata)} |
| output | {metadata.output_kind} |
{_decision(metadata)}
| training run | `{metadata.training_run}` |
| made | {metadata.created_at} by edgeemo {metadata.edgeemo_version} |
"""


def _decision(metadata: Metadata) -> str:
    return "\n".join(f"| {name} | {value} |" for name, value in decision_lines(metadata))


def _input(metadata: Metadata) -> str:
    size, mesh = metadata.template.size, metadata.mesh_input
    parts = []
    if metadata.input is not None:
        aligned = f"aligned by template `{metadata.template_id}`"
        parts.append(f"{size} x {size} grey pixels, {aligned}")
    if mesh is not None:
        count = mesh.tensor.shape[-1]
        parts.append(f"{count} mesh features `{mesh.features_id}`: points and blendshapes")
    return "; ".join(parts)


def _data(metadata: Metadata, report: ParityReport) -> str:
    uses = [("trained on", metadata.training_data), ("measured on", report.dataset)]
    if metadata.calibration_data is not None:
        uses.insert(1, ("calibrated on", metadata.calibration_data))
    lines = "\n".join(f"| {use} | {_dataset(dataset)} |" for use, dataset in uses)
    return f"""\
## Data

| use | data set | split | rows | fingerprint |
|---|---|---|---|---|
{lines}

{_SOURCES.get(metadata.training_data.name, _OWN_DATA)}
{_CROPS[metadata.crops]}
"""


def _dataset(dataset: Dataset) -> str:
    return f"{dataset.name} | {dataset.split} | {dataset.rows:,} | `{dataset.fingerprint[:12]}`"


def _accuracy(metadata: Metadata, report: ParityReport, validation: Dataset | None) -> str:
    keras, tflite = report.comparison.keras, report.comparison.tflite
    recalls = "\n".join(
        f"| {label} | {_share(keras.recall.get(label))} | {_share(tflite.recall.get(label))} |"
        for label in metadata.labels
    )
    return f"""\
## How well it does

All {report.dataset.rows:,} rows of {report.dataset.name}, split {report.dataset.split}, protocol
`{report.protocol}`. {_caveat(report, validation)}

| | Keras float | this model |
|---|---|---|
| accuracy | {keras.accuracy:.2%} | **{tflite.accuracy:.2%}** |
| balanced accuracy | {keras.balanced_accuracy:.2%} | {tflite.balanced_accuracy:.2%} |
| macro-F1 | {keras.macro_f1:.3f} | {tflite.macro_f1:.3f} |
{_calibration(report)}
Recall, the share of each expression's rows that was recognised:

| expression | Keras float | this model |
|---|---|---|
{recalls}
"""


def _share(share: float | None) -> str:
    return NOT_APPLICABLE if share is None else f"{share:.1%}"


def _calibration(report: ParityReport) -> str:
    keras, tflite = report.comparison.keras.ece, report.comparison.tflite.ece
    if keras is None or tflite is None:
        return ""
    return f"| calibration error, tempered | {keras:.4f} | {tflite:.4f} |\n"


def _caveat(report: ParityReport, validation: Dataset | None) -> str:
    """Say what the model knew of the samples that it was measured on."""
    measured, seen = report.dataset, report.seen
    if seen is None:
        return _by_name(measured, validation)
    told = f"Judged by the very pictures, {seen.words}."
    if seen.training or seen.validation:
        told += "\nThe figures flatter the model by what it knew."
    if report.unseen is not None and seen.unseen < measured.rows:
        keras, tflite = report.unseen
        told += (
            f" **On the {seen.unseen:,} that are new to it:** accuracy {keras:.2%}\n(Keras float), "
            f"{tflite:.2%} (this model, 95 % interval {_interval(tflite, seen.unseen)})."
        )
    return told


def _interval(share: float, n: int) -> str:
    low, high = wilson_interval(round(share * n), n)
    return f"{low:.2%} to {high:.2%}"


def _by_name(measured: Dataset, validation: Dataset | None) -> str:
    """Say what names and fingerprints tell of a run that kept none of its pictures."""
    if validation is None:
        return "If these samples also steered the training, the figures flatter the model."
    if (measured.name, measured.split) == (validation.name, validation.split):
        return (
            "The best epoch was chosen on this split, so the\nfigures flatter the model: "
            "they are validation, not a test."
        )
    return (
        "Its run kept no record of pictures, so\nwhether it has seen any of these is not known; "
        "then the figures flatter it."
    )


def _cost(report: ParityReport) -> str:
    comparison, intervals = report.comparison, report.comparison.intervals
    within = ""
    if intervals is not None:
        low, high = intervals.accuracy
        within = f", 95 % interval {low * 100:+.2f} to {high * 100:+.2f}"
    return f"""\
## What the conversion cost

Against the Keras model, on the same rows, run by {report.runtime}: the same answer on
{comparison.agreement:.2%} of the rows; accuracy {-comparison.drop * 100:+.2f} points{within}
({comparison.only_keras_right} rows only right before, {comparison.only_tflite_right} only after,
McNemar's exact p = {comparison.mcnemar_p:.3g}); probabilities differ by
{comparison.mean_difference:.4f} on average, {comparison.max_difference:.3f} at most.

Gate of the conversion {gate_words(report)}.
"""


def _limits(metadata: Metadata, report: ParityReport) -> str:
    recall = report.comparison.tflite.recall
    low = [
        f"{label} (recall {share:.0%})" for label, share in recall.items() if share < _LOW_RECALL
    ]
    told = f"- It misses most faces that show {', '.join(low)}.\n" if low else ""
    if unmeasured := [label for label in metadata.labels if label not in recall]:
        told += f"- How well it recognises {', '.join(unmeasured)} was not measured.\n"
    return _LIMITS.format(hardly_known=told)
