"""What a conversion is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from converters.convert.calibrate import DEFAULT_ROWS
from converters.convert.mixed.quantizer import FULL_INT8
from converters.labelled_images import LabelledImages
from converters.parity.gate import Gate
from edge.contract.metadata import Quantization


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """How frequent each emotion is among the samples that a model learnt from.

    Attributes:
        shares: by emotion, summing to 1; one that is left out has none.
        source: which samples these are, in words.
    """

    shares: Mapping[str, float]
    source: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ConvertRequest:
    """What to convert and what it may cost.

    Attributes:
        model: a ``.keras`` file, a run directory or the folder of a SavedModel.
        out: the bundle directory to write.
        quantization: how weights and activations are stored.
        evaluation: every row that parity is measured on.
        calibration: real training rows to choose from; needed for the integer forms.
        calibration_rows: how many to choose.
        seed: of that choice.
        labels: of the model's outputs, where no ``run.json`` tells.
        name: of the model; that of ``out`` when None.
        tau: of the decision, see ``edge.contract.decision.Decision``; ``auto`` chooses it, see
            ``converters.convert.decide``.
        prior: of the decision; needed for any tau but 0.
        temperature: of the decision; fitted when None.
        corrupted: the pictures of ``evaluation``, each made worse, to fit it on as well; for models
            that take nothing but crops.
        gate: the cost past which no bundle is written.
        recipe: of ai-edge-quantizer, by name or ``.json`` file, for the mixed form; full int8 when
            None.
        keep_float: layers that the recipe leaves in float.
        force: write it past the gate too, marked as forced.
    """

    model: Path
    out: Path
    evaluation: LabelledImages
    quantization: Quantization = "int8"
    calibration: LabelledImages | None = None
    calibration_rows: int = DEFAULT_ROWS
    seed: int = 0
    labels: tuple[str, ...] | None = None
    name: str | None = None
    tau: float | Literal["auto"] = 0.0
    prior: Prior | None = None
    temperature: float | None = None
    corrupted: LabelledImages | None = None
    gate: Gate = field(default_factory=Gate)
    recipe: str | None = None
    keep_float: tuple[str, ...] = ()
    force: bool = False

    @property
    def recipe_name(self) -> str | None:
        """Which recipe makes the mixed form; None for any other."""
        return (self.recipe or FULL_INT8) if self.quantization == "mixed" else None

    @property
    def bundle_name(self) -> str:
        """What the model is called."""
        return self.name or self.out.resolve().name
