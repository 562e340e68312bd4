"""Golden vectors of a conversion: synthetic probes, and what both kinds of kernels answer.

No row of a data set may travel with a model, so the probes are drawn: face-like pictures, smooth
fields, gradients, noise and extremes reach what a network does to light, edges and saturation.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from converters.parity.check import KernelDifference
from edge.contract.align import Template
from edge.contract.decision import Decision
from edge.contract.mesh_features import FEATURE_COUNT, FeatureNorm
from edge.inference.emotion_model import EmotionModel
from edge.inference.golden import GoldenVectors, Probes, difference, run_probes

_SEED: Final = 20250101


def golden_vectors(
    model: EmotionModel, builtin: EmotionModel | None, template: Template
) -> GoldenVectors:
    """Run the probes through a model, those of the kinds it takes.

    Args:
        model: as the runtime loads it.
        builtin: the same on TFLite's own kernels, for a form that they round otherwise.
        template: the size of the crops.
    """
    crops = probes(template)
    given = Probes(
        crops=None if model.input is None else crops,
        mesh=None if model.norm is None else mesh_probes(model.norm, len(crops)),
    )
    return GoldenVectors(
        given,
        run_probes(model, given),
        None if builtin is None else run_probes(builtin, given),
    )


def kernel_difference(
    golden: GoldenVectors, model: EmotionModel, decision: Decision
) -> KernelDifference | None:
    """Return how far TFLite's own kernels are from XNNPACK's, where both were run."""
    if golden.builtin is None:
        return None
    result = difference(model, decision, golden.builtin, golden.outputs)
    return KernelDifference(
        steps=result.steps, same_answers=result.same_answers, probes=result.probes
    )


def mesh_probes(norm: FeatureNorm, count: int) -> NDArray[np.float32]:
    """Return mesh features ``(count, FEATURE_COUNT)``: the same ones every time.

    The mean face, no face, both ends of the range, and faces around the mean: features that go
    together, as a face's do, each with a part of its own.
    """
    rng = np.random.default_rng(_SEED)
    together = rng.normal(0, 1, (count, 8)) @ rng.normal(0, 0.4, (8, FEATURE_COUNT))
    deviation = together + rng.normal(0, 0.5, (count, FEATURE_COUNT))
    deviation[:4] = np.array((0, np.nan, -9, 9))[:, None]
    mean, scale = norm.arrays
    return (mean + scale * deviation).astype(np.float32)


def probes(template: Template) -> NDArray[np.uint8]:
    """Return the probes, uint8 ``(44, size, size)``: the same ones every time."""
    rng = np.random.default_rng(_SEED)
    size = template.size
    pictures = [
        *(_face(rng, template) for _ in range(24)),
        *(_smooth(rng, size) for _ in range(4)),
        *_gradients(size, directions=8),
        *(rng.uniform(0, 255, (size, size)) for _ in range(2)),
        *_extremes(size),
    ]
    return np.clip(np.rint(np.stack(pictures)), 0, 255).astype(np.uint8)


def _face(rng: np.random.Generator, template: Template) -> NDArray[np.float64]:
    """Draw a lit oval with eyes, brows and a mouth where the template has them."""
    right, left, mouth = template.anchors()
    y, x = _grid(template.size)
    unit = left[0] - right[0]  # the distance between the eyes
    skin, light = rng.uniform(90, 210), rng.uniform(-40, 40, 2)
    picture = skin + light[0] * (x / template.size - 0.5) + light[1] * (y / template.size - 0.5)
    centre = (right + left + mouth) / 3
    outside = _blob(x, y, centre, (1.15 * unit, 1.6 * unit), power=6)
    picture = picture * outside + rng.uniform(20, 240) * (1 - outside)
    brow = np.array((0, -unit * rng.uniform(0.22, 0.42)))
    for eye in (right, left):
        openness = unit * rng.uniform(0.03, 0.14)
        picture -= rng.uniform(40, 110) * _blob(x, y, eye, (unit * 0.2, openness))
        picture -= rng.uniform(20, 90) * _blob(x, y, eye + brow, (unit * 0.3, unit * 0.06))
    bend = rng.uniform(-0.25, 0.25) * ((x - mouth[0]) / unit) ** 2 * unit
    shape = (unit * rng.uniform(0.25, 0.5), unit * rng.uniform(0.04, 0.22))
    picture -= rng.uniform(40, 110) * _blob(x, y + bend, mouth, shape)
    # One in five is grainy: grain does not compress, and a bundle shall stay small.
    grain = rng.uniform(2, 8) if rng.random() < 1 / 5 else 0.0
    return np.asarray(picture + rng.normal(0, grain, picture.shape), np.float64)


def _smooth(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Sum a few plane waves of random direction and length."""
    y, x = _grid(size)
    waves = rng.normal(0, 0.25, (6, 2))
    phases = rng.uniform(0, 2 * np.pi, 6)
    field = sum(np.cos(wx * x + wy * y + p) for (wx, wy), p in zip(waves, phases, strict=True))
    return np.asarray(127.5 + 50 * field, np.float64)


def _gradients(size: int, directions: int) -> list[NDArray[np.float64]]:
    """Ramp from 0 to 255 in evenly spread directions."""
    y, x = _grid(size)
    ramps = []
    for angle in np.arange(directions) * 2 * np.pi / directions:
        ramp = np.cos(angle) * x + np.sin(angle) * y
        ramps.append(255 * (ramp - ramp.min()) / np.ptp(ramp))
    return ramps


def _extremes(size: int) -> list[NDArray[np.float64]]:
    """Black, white, halves, and the finest and a coarse checkerboard."""
    y, x = _grid(size)
    rows, columns = y.astype(int), x.astype(int)
    flat = [np.full((size, size), value, np.float64) for value in (0, 255)]
    halves = [255.0 * (columns < size // 2), 255.0 * (rows < size // 2)]
    boards = [255.0 * ((rows // step + columns // step) % 2) for step in (1, 8)]
    return [*flat, *halves, *boards]


def _blob(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    centre: NDArray[np.float64],
    radii: tuple[float, float],
    power: int = 2,
) -> NDArray[np.float64]:
    """Return a soft ellipse: 1 in the middle, falling to 0; the higher ``power``, the sharper."""
    distance = np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1])
    return np.asarray(np.exp(-(distance**power)), np.float64)


def _grid(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the y and x of every pixel's centre, in continuous pixels."""
    y, x = np.mgrid[0:size, 0:size] + 0.5
    return y, x
