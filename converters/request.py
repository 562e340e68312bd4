"""What a conversion is asked for."""

from dataclasses import dataclass, field
from pathlib import Path

from converters.calibrate import DEFAULT_ROWS
from converters.gate import Gate
from converters.model_file import RunInfo
from converters.quantizer import FULL_INT8
from converters.rows import LabelledImages
from edge.contract.metadata import Form


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ConvertRequest:
    """What to convert and what it may cost.

    Attributes:
        model: a ``.keras`` file, a run directory or the folder of a SavedModel.
        out: the bundle directory to write.
        form: how weights and activations are stored.
        evaluation: every row that parity is measured on.
        calibration: real training rows to choose from; needed for the integer forms.
        calibration_rows: how many to choose.
        seed: of that choice.
        labels: of the model's outputs, where no ``run.json`` tells.
        name: of the model; that of ``out`` when None.
        temperature: to be applied on the device, see ``edge.contract.quantize.temper``; that of
            the run when None.
        gate: the cost past which no bundle is written.
        recipe: of ai-edge-quantizer, by name or ``.json`` file, for the mixed form; full int8 when
            None.
        keep_float: layers that the recipe leaves in float.
        force: write it past the gate too, marked as forced.
    """

    model: Path
    out: Path
    evaluation: LabelledImages
    form: Form = "int8"
    calibration: LabelledImages | None = None
    calibration_rows: int = DEFAULT_ROWS
    seed: int = 0
    labels: tuple[str, ...] | None = None
    name: str | None = None
    temperature: float | None = None
    gate: Gate = field(default_factory=Gate)
    recipe: str | None = None
    keep_float: tuple[str, ...] = ()
    force: bool = False

    def temperature_for(self, run: RunInfo) -> float:
        """Return what the device will apply: what was asked for, else that of the run."""
        return run.temperature if self.temperature is None else self.temperature

    @property
    def recipe_name(self) -> str | None:
        """Which recipe makes the mixed form; None for any other."""
        return (self.recipe or FULL_INT8) if self.form == "mixed" else None

    @property
    def bundle_name(self) -> str:
        """What the model is called."""
        return self.name or self.out.resolve().name
