"""How small a face may be: what `mesher.reach` near and far find, invent and cost.

    python benchmarks/reach.py [--scenes 60] [--backgrounds 2000] [--faces PICTURE ...]

Scenes are composed: a head, cut out with a soft edge, is put into a picture made by one of fifteen
procedures, anywhere, tilted by up to 25 degrees, lit by half to slightly too much, from a side,
with a sensor's noise. The heads are the demo's (smiling, surprised, and their mirror images), and
those in the pictures that ``--faces`` names. A face is found when the mesh's box has its middle
within a third of the face's width of the true one, and is about as wide.

Every picture stands alone here (a still); in a film a face that is missed has a chance four times a
second. The costs are of one run, by turns, in CPU time of one core. The figures stand in
docs/mesh.md; ``tests/edge/stages/mesh/test_reach.py`` asserts them for a few of the same scenes.
"""

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.assets.store import ASTRONAUT, FACE_LANDMARKER, asset_path
from edge.config import MesherConfig, Reach
from edge.records import Face, Frame
from edge.sources.demo.expression import Surprise
from edge.sources.demo.source import DemoSource
from edge.stages.mesh.litert import LitertMesher

Picture = NDArray[np.uint8]
Rng = np.random.Generator

# --- pictures without a face


def _colour(rng: Rng) -> tuple[int, int, int]:
    return tuple(int(value) for value in rng.integers(0, 256, 3))


def _canvas(rng: Rng, size_hw: tuple[int, int]) -> Picture:
    return np.full((*size_hw, 3), _colour(rng), np.uint8)


def _stretched(small: NDArray[np.floating], size_hw: tuple[int, int]) -> Picture:
    """Enlarge values of 0 to 255 smoothly to a picture."""
    large = cv2.resize(small.astype(np.float32), size_hw[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(np.rint(large), 0, 255).astype(np.uint8)


def _skin(rng: Rng) -> tuple[int, int, int]:
    """Return a skin's colour, BGR."""
    light = rng.uniform(0.25, 1.0)
    return tuple(int(light * value) for value in (170 + rng.integers(-30, 30), 190, 230))


def noise(rng: Rng, size_hw: tuple[int, int]) -> Picture:
    """Grey or coloured grains of some size."""
    grain = int(rng.integers(1, 40))
    channels = 3 if rng.random() < 0.7 else 1
    cells = rng.integers(0, 256, (size_hw[0] // grain + 2, size_hw[1] // grain + 2, channels))
    return _stretched(np.broadcast_to(cells, (*cells.shape[:2], 3)), size_hw)


def gradient(rng: Rng, size_hw: tuple[int, int]) -> Picture:
    """A wall, lit from somewhere."""
    return _stretched(rng.uniform(0, 255, (2, 2, 3)), size_hw)


def clouds(rng: Rng, size_hw: tuple[int, int]) -> Picture:
    """Noise of all sizes: clouds, plaster, carpets."""
    total = np.zeros((*size_hw, 3), np.float32)
    fall = rng.uniform(0.35, 0.85)
    for octave in range(8):
        cells = rng.normal(0, fall**octave, (2**octave + 1, 2**octave + 1, 3))
        if rng.random() < 0.5:
            cells[:] = cells[:, :, :1]
        total += cv2.resize(cells.astype(np.float32), size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    middle = rng.uniform(80, 180, 3)
    return np.clip(middle + total * rng.uniform(20, 90), 0, 255).astype(np.uint8)


def checkers(rng: Rng, size_hw: tuple[int, int]) -> Picture:
    """A checkerboard, seen from an angle."""
    side = int(rng.integers(4, 60))
    rows, columns = np.mgrid[:900, :1200] // side
    board = np.where(((rows + columns) % 2)[:, :, np.newaxis], _colour(rng), _colour(rng))
    corners = np.array(((0, 0), (1200, 0), (1200, 900), (0, 900)), np.float32)
    to = corners * (size_hw[1] / 1200, size_hw[0] / 900) + rng.uniform(-150, 150, (4, 2))
    matrix = cv2.getPerspectiveTransform(corners, to.astype(np.float32))
    return cv2.warpPerspective(
        board.astype(np.uint8), matrix, size_hw[::-1], borderMode=cv2.BORDER_REFLECT
    )


def plaid(rng: Rng, size_hw: tuple[int, int]) -> Picture:
    """Woven stripes."""
    across = rng.uniform(0, 255, (1, int(rng.integers(5, 90)), 3))
    down = rng.uniform(0, 255, (int(rng.integers(5, 90)), 1, 3))
    size = size_hw[::-1]
    warp = cv2.resize(across, size, interpolation=cv2.INTER_NEAREST)
    weft = cv2.resize(down, size, interpolation=cv2.INTER_NEAREST)
    share = rng.uniform(0, 1)
    return (share * warp + (1 - share) * weft).astype(np.uint8)


def shapes(rng: Rng, size_hw: tuple[int, int]) -> Picture:
    """Polygons, boxes and discs over each other."""
    picture = _canvas(rng, size_hw)
    for _ in range(int(rng.integers(5, 80))):
        x, y = int(rng.integers(size_hw[1])), int(rng.integers(size_hw[0]))
        size = int(rng.integers(6, 160))
        kind = rng.integers(3)
        if kind == 0:
            corners = np.add((x, y), rng.uniform(-size, size, (int(rng.integers(3, 8)), 2)))
            cv2.fillPoly(picture, [corners.astype(np.int32)], _colour(rng), cv2.LINE_AA)
        elif kind == 1:
            thick = -1 if rng.random() < 0.7 else int(rng.integers(1, 6))
            cv2.rectangle(picture, (x, y), (x + size, y + size), _colour(rng), thick)
        else:
            cv2.circle(picture, (x, y), size // 2, _colour(rng), -1, cv2.LINE_AA)
    return picture


def blobs(rng: Rng, size_hw: tuple[int, int]) -> Picture:
    """Soft spots of light and shade."""
    total = np.full((*size_hw, 3), rng.uniform(40, 200, 3), np.float32)
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]].astype(np.float32)
    for _ in range(int(rng.integers(5, 40))):
        x, y, size = rng.uniform(0, size_hw[1]), rng.uniform(0, size_hw[0]), rng.uniform(4, 90)
        spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * size * size))
        total += spot[:, :, np.newaxis] * rng.uniform(-120, 120, 3).astype(np.float32)
    return np.clip(total, 0, 255).astype(np.uint8)


def heads(rng: Rng, size_hw: tuple[int, int]) -> Picture:
    """Ovals in the colours of skin, with hair and shoulders, and without any feature."""
    picture = clouds(rng, size_hw) if rng.random() < 0.5 else gradient(rng, size_hw)
    for _ in range(int(rng.integers(1, 9))):
        x, y = int(rng.integers(size_hw[1])), int(rng.integers(size_hw[0]))
        half = int(rng.integers(10, 60))
        tilt, skin = float(rng.uniform(-30, 30)), _skin(rng)
        cv2.ellipse(
            picture, (x, y + 3 * half), (2 * half, int(1.8 * half)), 0, 180, 360, _colour(rng), -1,
            cv2.LINE_AA,
        )  # fmt: skip
        cv2.ellipse(
            picture, (x, y - half // 4), (int(1.2 * half), int(1.4 * half)), tilt, 150, 390,
            tuple(value // 4 for value in skin), -1, cv2.LINE_AA,
        )  # fmt: skip
        cv2.ellipse(picture, (x, y), (half, int(1.3 * half)), tilt, 0, 360, skin, -1, cv2.LINE_AA)
    return picture


def text(rng: Rng, size_hw: tuple[int, int]) -> Picture:
    """Lines of letters."""
    picture, ink = _canvas(rng, size_hw), _colour(rng)
    scale = rng.uniform(0.3, 2.5)
    letters = [chr(code) for code in range(33, 126)]
    for y in range(10, size_hw[0] + 40, max(8, int(34 * scale))):
        line = "".join(rng.choice(letters, int(size_hw[1] / (14 * scale)) + 2))
        cv2.putText(
            picture, line, (int(rng.integers(-20, 20)), y), int(rng.integers(8)), scale, ink,
            int(rng.integers(1, 4)), cv2.LINE_AA,
        )  # fmt: skip
    return picture


def bricks(rng: Rng, size_hw: tuple[int, int]) -> Picture:
    """A wall of bricks or tiles, each a little different."""
    picture = _canvas(rng, size_hw)
    height = int(rng.integers(8, 50))
    width, joint = int(height * rng.uniform(1, 3)), int(rng.integers(1, 5))
    base = rng.uniform(40, 220, 3)
    for row in range(size_hw[0] // height + 1):
        for column in range(-1, size_hw[1] // width + 1):
            x = column * width + (row % 2) * width // 2
            shade = tuple(np.clip(base + rng.normal(0, 20, 3), 0, 255))
            cv2.rectangle(
                picture,
                (x, row * height),
                (x + width - joint, (row + 1) * height - joint),
                shade,
                -1,
            )
    return picture


def lights(rng: Rng, size_hw: tuple[int, int]) -> Picture:
    """Lamps at night, out of focus."""
    picture = np.full((*size_hw, 3), rng.integers(0, 50), np.uint8)
    for _ in range(int(rng.integers(10, 120))):
        at = int(rng.integers(size_hw[1])), int(rng.integers(size_hw[0]))
        disc = np.zeros_like(picture)
        cv2.circle(disc, at, int(rng.integers(2, 25)), _colour(rng), -1, cv2.LINE_AA)
        picture = cv2.add(picture, disc)
    return picture


def patches(rng: Rng, size_hw: tuple[int, int]) -> Picture:
    """Cells around random places: stones, scales, leaves."""
    count = int(rng.integers(20, 600))
    places = rng.uniform(0, 1, (count, 2)).astype(np.float32) * size_hw
    step = 4
    rows, columns = np.mgrid[: size_hw[0] : step, : size_hw[1] : step]
    nearest = np.zeros(rows.shape, np.int32)
    best = np.full(rows.shape, np.inf)
    for i, (y, x) in enumerate(places):
        far = (rows - y) ** 2 + (columns - x) ** 2
        nearest[far < best] = i
        best = np.minimum(best, far)
    colours = np.clip(rng.uniform(30, 220, 3) + rng.normal(0, 45, (count, 3)), 0, 255)
    return _stretched(colours[nearest], size_hw)


def strokes(rng: Rng, size_hw: tuple[int, int]) -> Picture:
    """Grass, hair, branches, wires."""
    picture, base = _canvas(rng, size_hw), rng.uniform(20, 200, 3)
    for _ in range(int(rng.integers(50, 900))):
        x, y = rng.uniform(0, size_hw[1]), rng.uniform(0, size_hw[0])
        bend = np.add((x, y), np.cumsum(rng.normal(0, 12, (6, 2)), axis=0))
        shade = tuple(np.clip(base + rng.normal(0, 40, 3), 0, 255))
        thick = int(rng.integers(1, 5))
        cv2.polylines(picture, [bend.astype(np.int32)], False, shade, thick, cv2.LINE_AA)
    return picture


def room(rng: Rng, size_hw: tuple[int, int]) -> Picture:
    """Walls, windows, shelves, round things on them."""
    height, width = size_hw
    picture = gradient(rng, size_hw)
    floor = int(height * rng.uniform(0.6, 0.9))
    picture[floor:] = _colour(rng)
    for _ in range(int(rng.integers(3, 15))):
        x, y = int(rng.integers(width)), int(rng.integers(floor))
        w, h = int(rng.integers(20, 200)), int(rng.integers(20, 200))
        cv2.rectangle(picture, (x, y), (x + w, y + h), _colour(rng), -1)
        cv2.rectangle(picture, (x, y), (x + w, y + h), _colour(rng), int(rng.integers(1, 8)))
        for at in range(x, x + w, max(6, w // int(rng.integers(2, 9)))):
            cv2.line(picture, (at, y), (at, y + h), _colour(rng), int(rng.integers(1, 4)))
        cv2.ellipse(
            picture, (x, y), (int(rng.integers(4, 50)), int(rng.integers(4, 50))), 0, 0, 360,
            _colour(rng), -1, cv2.LINE_AA,
        )  # fmt: skip
    return picture


def wheels(rng: Rng, size_hw: tuple[int, int]) -> Picture:
    """Discs with a ring, a hub or spokes: wheels, clocks, knobs, lenses."""
    picture = clouds(rng, size_hw) if rng.random() < 0.5 else _canvas(rng, size_hw)
    for _ in range(int(rng.integers(3, 25))):
        at = int(rng.integers(size_hw[1])), int(rng.integers(size_hw[0]))
        radius = int(rng.integers(8, 70))
        cv2.circle(picture, at, radius, _colour(rng), -1, cv2.LINE_AA)
        cv2.circle(picture, at, radius, _colour(rng), max(1, radius // 8), cv2.LINE_AA)
        for spoke in rng.uniform(0, 2 * math.pi, int(rng.integers(0, 6))):
            end = (at[0] + int(radius * math.cos(spoke)), at[1] + int(radius * math.sin(spoke)))
            cv2.line(picture, at, end, _colour(rng), max(1, radius // 10), cv2.LINE_AA)
        cv2.circle(picture, at, max(1, radius // 5), _colour(rng), -1, cv2.LINE_AA)
    return picture


KINDS: tuple[Callable[[Rng, tuple[int, int]], Picture], ...] = (
    noise, gradient, clouds, checkers, plaid, shapes, blobs, heads, text, bricks, lights, patches,
    strokes, room, wheels,
)  # fmt: skip


def faceless(index: int, size_hw: tuple[int, int] = (480, 640)) -> Picture:
    """Return the ``index``-th picture without a face, BGR: the kinds by turns, seen by a camera."""
    rng = np.random.default_rng((2012, index))
    picture = KINDS[index % len(KINDS)](rng, size_hw)
    return _as_seen(picture, rng)


def _as_seen(picture: Picture, rng: Rng) -> Picture:
    """A lens that may be out of focus, and a sensor's noise."""
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 2.0))
    grains = rng.normal(0, rng.uniform(0, 5), picture.shape)
    return np.clip(np.rint(picture + grains), 0, 255).astype(np.uint8)


# --- pictures with a small face


@dataclass(frozen=True, slots=True)
class Portrait:
    """A face to be pasted: BGR picture, its opacity, and its mesh in it."""

    image: Picture
    opacity: NDArray[np.float32]
    points: NDArray[np.float32]

    @classmethod
    def of(cls, image: Picture, points: NDArray[np.float32]) -> "Portrait":
        """Cut head and shoulders out with a soft edge, within the picture."""
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        centre, radii = (low + high) / 2, (high - low) * (1.0, 1.15)
        rows, columns = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
        oval = 1 - np.hypot((columns - centre[0]) / radii[0], (rows - centre[1]) / radii[1])
        edge = (
            np.minimum.reduce((columns, rows, image.shape[1] - columns, image.shape[0] - rows))
            / radii.mean()
        )
        soft = np.clip(np.minimum(oval / 0.3, edge / 0.1), 0, 1)
        return cls(image, (soft * soft * (3 - 2 * soft)).astype(np.float32), points[:, :2])

    @property
    def width(self) -> float:
        """The mesh's width in the portrait, in pixels."""
        return float(np.ptp(self.points[:, 0]))


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture with one small face, and where its mesh's box is: x1, y1, x2, y2."""

    image: Picture
    box: NDArray[np.float32]

    def is_at(self, box: NDArray[np.floating]) -> bool:
        """Tell whether a box is this face's: about as wide, its middle within a third of that."""
        width = self.box[2] - self.box[0]
        apart = np.hypot(*(box[:2] + box[2:] - self.box[:2] - self.box[2:])) / 2
        return bool(apart < width / 3 and 0.6 < (box[2] - box[0]) / width < 1.6)


_OVER = 4
"""A face is drawn so many times larger and averaged: no aliasing."""


def paste(
    picture: Picture, portrait: Portrait, at: tuple[float, float], width: float, tilt: float = 0.0
) -> Scene:
    """Put a face into a picture, with the middle of its box ``at`` x, y.

    Args:
        picture: BGR, left as it is.
        portrait: whose face.
        at: where.
        width: of its mesh when upright, in pixels.
        tilt: degrees, clockwise.
    """
    height_px, width_px = picture.shape[:2]
    low, high = portrait.points.min(axis=0), portrait.points.max(axis=0)
    centre = (low + high) / 2
    matrix = cv2.getRotationMatrix2D(tuple(map(float, centre)), -tilt, width / portrait.width)
    matrix[:, 2] += np.subtract(at, centre)
    points = portrait.points @ matrix[:, :2].T + matrix[:, 2]
    fine = matrix * _OVER
    fine[:, 2] += fine[:, :2] @ (0.5, 0.5) - 0.5
    # Only around the face: a whole picture, many times larger, would take long.
    half = int(width * 2.2) + 2
    x0, y0 = int(at[0]) - half, int(at[1]) - half
    fine[:, 2] -= (x0 * _OVER, y0 * _OVER)
    side = 2 * half * _OVER
    veil = cv2.warpAffine(portrait.opacity, fine, (side, side))
    # Sources much larger than the drawing are averaged first.
    face = cv2.warpAffine(
        _softened(portrait, width), fine, (side, side), borderMode=cv2.BORDER_REPLICATE
    )
    small = (2 * half, 2 * half)
    veil = cv2.resize(veil, small, interpolation=cv2.INTER_AREA)[:, :, np.newaxis]
    face = cv2.resize(face, small, interpolation=cv2.INTER_AREA)
    result = picture.copy()
    x1, y1 = max(x0, 0), max(y0, 0)
    x2, y2 = min(x0 + 2 * half, width_px), min(y0 + 2 * half, height_px)
    part = result[y1:y2, x1:x2]
    inside = (slice(y1 - y0, y2 - y0), slice(x1 - x0, x2 - x0))
    part[:] = np.rint(part * (1 - veil[inside]) + face[inside] * veil[inside])
    box = np.concatenate((points.min(axis=0), points.max(axis=0)))
    return Scene(result, box.astype(np.float32))


def _softened(portrait: Portrait, width: float) -> Picture:
    shrink = portrait.width / (width * _OVER)
    return cv2.GaussianBlur(portrait.image, (0, 0), shrink / 2) if shrink > 1 else portrait.image


def composed(
    index: int, portraits: Sequence[Portrait], widths: tuple[float, float], size_hw: tuple[int, int]
) -> Scene:
    """Return the ``index``-th scene: place, person, tilt, light, size and background all vary."""
    rng = np.random.default_rng((1969, index))
    background = KINDS[int(rng.integers(len(KINDS)))](rng, size_hw)
    portrait = portraits[int(rng.integers(len(portraits)))]
    width = float(rng.uniform(*widths))
    margin = width
    at = rng.uniform(margin, size_hw[1] - margin), rng.uniform(margin, size_hw[0] - margin)
    lit = portrait.image * rng.uniform(0.5, 1.15)
    side = rng.uniform(-0.35, 0.35) * np.linspace(-1, 1, lit.shape[1])[:, np.newaxis]
    lit = np.clip(lit * (1 + side), 0, 255).astype(np.uint8)
    tilt = float(rng.uniform(-25, 25))
    scene = paste(background, replace(portrait, image=lit), at, width, tilt)
    grains = rng.normal(0, rng.uniform(0, 4), scene.image.shape)
    return Scene(np.clip(np.rint(scene.image + grains), 0, 255).astype(np.uint8), scene.box)


# --- measuring

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REACHES: tuple[Reach, ...] = ("near", "far")
WIDTHS = {(480, 640): (24, 28, 32, 40, 48, 56, 68), (720, 1280): (36, 48, 64, 96, 128)}


def mesher_of(reach: Reach, **others: object) -> LitertMesher:
    """Return a mesher that reaches so far."""
    return LitertMesher(asset_path(FACE_LANDMARKER), MesherConfig(reach=reach, **others))


def look(mesher: LitertMesher, image: Picture) -> Sequence[Face]:
    """Return the faces of a still."""
    return mesher.detect(Frame(np.ascontiguousarray(image), 0, 0.0, NOW, starts_new_clip=True))


def portraits(pictures: Sequence[Path] = ()) -> list[Portrait]:
    """Return the demo's heads, and the first one of each picture.

    Raises:
        SystemExit: a picture cannot be read, or shows no face.
    """
    photo = cv2.imread(str(asset_path(ASTRONAUT)))
    images = {"astronaut": photo, "surprised": Surprise(photo).photo(1.0)}
    images |= {f"{name}, mirrored": image[:, ::-1] for name, image in images.items()}
    images |= {str(path): cv2.imread(str(path)) for path in pictures}
    mesher, found = mesher_of("near", max_faces=1), []
    for name, image in images.items():
        faces = look(mesher, image) if image is not None else ()
        if not faces:
            raise SystemExit(f"{name}: no picture, or none with a face that is found")
        found.append(Portrait.of(np.ascontiguousarray(image), faces[0].points))
    return found


def found_by_width(heads: Sequence[Portrait], scenes: int) -> None:
    """Print the share of faces that each reach finds, and what else it takes for a face."""
    meshers = {reach: mesher_of(reach) for reach in REACHES}
    print("| picture | face, px | near | far | others, near | far |\n|---|---|---|---|---|---|")
    for size_hw, widths in WIDTHS.items():
        for width in widths:
            hits, others = dict.fromkeys(REACHES, 0), dict.fromkeys(REACHES, 0)
            for i in range(scenes):
                scene = composed(i, heads, (width, width), size_hw)
                for reach, mesher in meshers.items():
                    here = [scene.is_at(face.box_xyxy) for face in look(mesher, scene.image)]
                    hits[reach] += any(here)
                    others[reach] += len(here) - sum(here)
            shares = " | ".join(f"{hits[reach] / scenes:.0%}" for reach in REACHES)
            wrong = " | ".join(str(others[reach]) for reach in REACHES)
            print(f"| {size_hw[1]}x{size_hw[0]} | {width} | {shares} | {wrong} |", flush=True)


def invented(backgrounds: int) -> None:
    """Print the faces that each reach finds where there is none."""
    meshers = {reach: mesher_of(reach) for reach in REACHES}
    count = dict.fromkeys(REACHES, 0)
    for i in range(backgrounds):
        for reach, mesher in meshers.items():
            faces = look(mesher, faceless(i))
            count[reach] += len(faces)
            for face in faces:
                print(f"{reach}: a face in {KINDS[i % len(KINDS)].__name__} {i}: {face.box_xyxy}")
    print(f"faces in {backgrounds} pictures without one: {count}", flush=True)


def costs(seconds: float = 4.0) -> None:
    """Print the CPU time of a frame at 25 frames/s, in milliseconds."""
    demo = DemoSource()
    visible = next(i for i in range(demo.frames) if demo.visible_fraction(i) == 1)
    scenes = {"nobody there, a room": faceless(13), "one face, three places free": None}
    print("| 640x480 | near, ms | far, ms | ratio | a search in tiles, ms |\n|---|---|---|---|---|")
    for name, picture in scenes.items():
        meshers = {reach: mesher_of(reach) for reach in REACHES}
        spent: dict[str, list[float]] = {reach: [] for reach in REACHES}
        for i in range(round(25 * seconds)):
            image = demo.render(visible + i % 25) if picture is None else picture
            for reach, mesher in meshers.items():
                before = time.process_time()
                mesher.detect(Frame(image, i, i / 25, NOW))
                spent[reach].append(1e3 * (time.process_time() - before))
        near, far = (float(np.mean(spent[reach][25:])) for reach in REACHES)
        search = (far - near) * 25 / 4
        print(f"| {name} | {near:.2f} | {far:.2f} | {far / near:.2f} | {search:.1f} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=60, help="of each size")
    parser.add_argument("--backgrounds", type=int, default=2000)
    parser.add_argument("--faces", type=Path, nargs="*", default=[], help="pictures of more people")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if options.scenes:
        found_by_width(portraits(options.faces), options.scenes)
    costs()
    invented(options.backgrounds)


if __name__ == "__main__":
    main()
