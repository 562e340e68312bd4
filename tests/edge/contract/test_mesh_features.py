import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.contract.align import LEFT_EYE, MESH_POINTS, RIGHT_EYE
from edge.contract.mesh_features import (
    BLENDSHAPES,
    EXPRESSION_POINTS,
    FEATURE_COUNT,
    FEATURES,
    MIRRORED_POINTS,
    FeatureNorm,
    feature_norm,
    mesh_features,
    mirrored_features,
    standardized,
)
from edge.contract.quantize import dequantize, quantize
from edge.stages.mesh.litert.geometry import canonical_vertices
from edge.stages.mesh.litert.taskfile import read_task

RNG = np.random.default_rng(5)
SHAPES = RNG.uniform(0, 1, 52).astype(np.float32)
NORM = FeatureNorm((0.5,) * FEATURE_COUNT, (0.25,) * FEATURE_COUNT)
PARTNER = {a: b for pair in MIRRORED_POINTS for a, b in (pair, pair[::-1])}


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """MediaPipe's own mesh of the astronaut photo, in pixels."""
    return np.load(Path(__file__).parents[1] / "data" / "astronaut_mesh.npz")["points"]


@pytest.fixture(scope="module")
def canonical() -> np.ndarray:
    """The canonical face ``(468, 3)``: x to the picture's right."""
    return canonical_vertices(read_task(asset_path(FACE_LANDMARKER)).geometry)


def mirrored_mesh(points: np.ndarray) -> np.ndarray:
    """The mesh of the picture seen in a mirror: every point where its partner was."""
    order = [PARTNER.get(i, i) for i in range(MESH_POINTS)]
    return points[order] * (-1, 1, 1) + (640, 0, 0)


def test_there_are_as_many_features_as_the_name_promises(face):
    """mesh-v1 is 146 points and 52 blendshapes: 344 numbers, float32."""
    assert (len(EXPRESSION_POINTS), len(BLENDSHAPES), FEATURE_COUNT) == (146, 52, 344)
    features = mesh_features(face, SHAPES)
    assert (features.shape, features.dtype) == ((344,), np.float32)
    assert np.array_equal(features[292:], SHAPES)


def test_the_eyes_are_level_half_a_unit_from_the_middle(face):
    """The frame of reference is that of the eyes: centred, level, their distance the unit."""
    points = mesh_features(face, SHAPES)[:292].reshape(146, 2)
    place = {int(point): i for i, point in enumerate(EXPRESSION_POINTS)}
    right, left = (points[[place[i] for i in eye]].mean(axis=0) for eye in (RIGHT_EYE, LEFT_EYE))
    assert np.allclose((right, left), ((-0.5, 0), (0.5, 0)), atol=1e-6)
    assert points[place[152], 1] > 1  # the chin is below


@given(st.floats(-180, 180), st.floats(0.05, 20), st.floats(-5000, 5000), st.floats(-5000, 5000))
def test_place_size_and_tilt_do_not_matter(face, angle, scale, dx, dy):
    """The features of a face are the same after any rotation, scaling and shift."""
    cos, sin = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    xy = face[:, :2].astype(np.float64) @ ((cos, sin), (-sin, cos)) + (dx, dy)
    assert np.allclose(mesh_features(xy, SHAPES), mesh_features(face, SHAPES), atol=1e-5)


def test_the_third_coordinate_is_left_alone(face):
    """Depth, which is relative and noisy, changes nothing."""
    assert np.array_equal(mesh_features(face, SHAPES), mesh_features(face[:, :2], SHAPES))


def test_mirrored_features_are_those_of_the_mirrored_mesh(face):
    """Mirroring features is the same as mirroring the picture, and twice is not at all."""
    swapped = [
        BLENDSHAPES.index(name.replace("Left", "?").replace("Right", "Left").replace("?", "Right"))
        for name in BLENDSHAPES
    ]
    features = mesh_features(face, SHAPES)
    mirrored = mesh_features(mirrored_mesh(face), SHAPES[swapped])
    assert np.allclose(mirrored_features(features), mirrored, atol=1e-5)
    assert not np.allclose(features, mirrored, atol=0.01)
    assert np.array_equal(mirrored_features(mirrored_features(features)), features)


def test_mirroring_takes_rows_and_leaves_missing_faces_missing(face):
    """A batch mirrors row by row; a row of NaN stays one."""
    rows = np.stack((mesh_features(face, SHAPES), np.full(FEATURE_COUNT, np.nan, np.float32)))
    mirrored = mirrored_features(rows)
    assert np.array_equal(mirrored[0], mirrored_features(rows[0]))
    assert np.isnan(mirrored[1]).all()
    assert mirrored.dtype == np.float32


def test_mirrored_points_are_mirror_images_in_the_canonical_face(canonical):
    """Each point's image in the mirror is its partner, and every other point is on the midline."""
    for point in set(EXPRESSION_POINTS.tolist()) & set(range(len(canonical))):
        image = canonical[point] * (-1, 1, 1)
        distance = np.linalg.norm(canonical - image, axis=1)
        assert distance.argmin() == PARTNER.get(point, point)
        assert distance.min() < 1e-5


def test_mirrored_points_are_whole():
    """The pairs name no point twice and none that is not a feature; right comes before left."""
    named = [point for pair in MIRRORED_POINTS for point in pair]
    assert len(set(named)) == len(named)
    assert set(named) <= set(EXPRESSION_POINTS.tolist())


def test_mirrored_irises_are_mirror_images_in_a_face(face):
    """The canonical face has no irises; in a real one their parts lie as the pairs say."""
    irises = face[468:478, :2].reshape(2, 5, 2)
    right, left = irises - irises[:, :1]
    radius = np.linalg.norm(right[1:], axis=1).mean()
    image = right * (-1, 1)
    order = [PARTNER[point] - 473 for point in range(468, 473)]
    assert (np.linalg.norm(image - left[order], axis=1) < 0.25 * radius).all()


@pytest.mark.parametrize(
    ("points", "shapes", "message"),
    [
        (np.zeros((468, 3)), SHAPES, r"points must have shape .*got \(468, 3\)"),
        (np.zeros((478, 4)), SHAPES, r"points must have shape .*got \(478, 4\)"),
        (np.zeros((1, 478, 3)), SHAPES, "points must have shape"),
        (np.zeros((478, 3)), SHAPES, "eye centres coincide"),
        (RNG.normal(size=(478, 3)), SHAPES[:51], r"blendshapes must have shape .*got \(51,\)"),
        (RNG.normal(size=(478, 3)), np.full(52, np.nan), "not finite"),
        (np.full((478, 2), np.nan), SHAPES, "not finite"),
        (np.where(np.arange(478) == 152, np.inf, RNG.normal(size=(2, 478))).T, SHAPES, "not fin"),
    ],
)
def test_what_is_no_mesh_is_refused(points, shapes, message):
    """Wrong shapes and numbers give an error, never features."""
    with pytest.raises(ValueError, match=message):
        mesh_features(points, shapes)


def test_a_measured_norm_standardises_its_own_rows():
    """Mean 0 and deviation 1 per feature; rows without a face neither count nor come out NaN."""
    rows = (RNG.normal(size=(500, FEATURE_COUNT)) * np.linspace(0.1, 9, 344) + 3).astype(np.float32)
    rows[7] = np.nan
    values = standardized(rows, feature_norm(rows))
    assert values.dtype == np.float32
    assert np.array_equal(values[7], np.zeros(FEATURE_COUNT))
    known = np.delete(values, 7, axis=0)
    assert np.abs(known.mean(axis=0)).max() < 0.01
    assert np.abs(known.std(axis=0) - 1).max() < 0.01


def test_a_feature_that_never_varies_stays_small():
    """A constant feature is not divided by nothing; a later deviation is clipped, not infinite."""
    rows = np.full((10, FEATURE_COUNT), 0.7, np.float32)
    norm = feature_norm(rows)
    assert min(norm.scale) > 0
    assert np.abs(standardized(rows, norm)).max() < 0.01
    assert standardized(rows + 1, norm).max() < 4


def test_a_norm_without_rows_is_refused():
    """Rows that all lack a face give no mean."""
    with pytest.raises(ValueError, match="none of 2 rows has mesh features"):
        feature_norm(np.full((2, FEATURE_COUNT), np.nan, np.float32))


@given(st.floats(-1e6, 1e6))
def test_int8_tells_standardised_features_within_half_a_step(value):
    """No standardised feature lies outside of what int8 holds under the fixed scale."""
    features = np.full(FEATURE_COUNT, value, np.float32)
    values = standardized(features, NORM)
    again = dequantize(quantize(values, FEATURES), FEATURES)
    assert np.abs(again - values).max() <= FEATURES.scale / 2


def test_a_norm_survives_json_to_the_last_bit_in_few_digits():
    """What metadata spells out is what training standardised with, in six digits."""
    norm = feature_norm(RNG.normal(size=(50, FEATURE_COUNT)).astype(np.float32))
    text = msgspec.json.encode(norm)
    assert msgspec.json.decode(text, type=FeatureNorm) == norm
    assert all(float(f"{value:.6g}") == value for value in (*norm.mean, *norm.scale))
    assert len(text) < 12 * 2 * FEATURE_COUNT


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean": [0.0] * 343}, "mean must be 344 finite numbers, got 343"),
        ({"scale": [1.0] * 345}, "scale must be 344 finite numbers, got 345"),
        ({"scale": [1.0] * 343 + [0.0]}, "scale must be positive, 1e-6 to 1e6, got 0"),
        ({"scale": [1.0] * 343 + [-1.0]}, "scale must be positive, 1e-6 to 1e6, got -1"),
        ({"median": []}, "unknown field `median`"),
    ],
)
def test_a_norm_that_can_not_be_used_is_refused(fields, message):
    """A norm of another length, or that divides by nothing, does not decode."""
    good = {"mean": [0.0] * FEATURE_COUNT, "scale": [1.0] * FEATURE_COUNT}
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.json.decode(json.dumps({**good, **fields}).encode(), type=FeatureNorm)


@pytest.mark.parametrize("shape", [(), (343,), (2, 345)])
def test_rows_of_another_length_are_refused(shape):
    """Features of another definition are never taken for these."""
    rows = np.zeros(shape, np.float32)
    for use in (mirrored_features, lambda values: standardized(values, NORM)):
        with pytest.raises(ValueError, match=r"features must have shape \(\.\.\., 344\)"):
            use(rows)
