"""A user's program, as a type checker sees it; mypy --strict must accept every line."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import edgeemo


def smiles(analyzer: edgeemo.Analyzer, photo: Path) -> float:
    frame: edgeemo.Frame = analyzer.image(photo)
    frame.draw().save("seen.png")
    return max((face.scores["happiness"] for face in frame), default=0.0)


def widths(analyzer: edgeemo.Analyzer, film: str) -> list[float]:
    with analyzer.video(film, max_frames=10) as frames:
        return [float(face.box_xyxy[2] - face.box_xyxy[0]) for frame in frames for face in frame]


def failures(analyzer: edgeemo.Analyzer, photos: list[Path]) -> list[str]:
    items = analyzer.images(photos)
    return [str(item.error) for item in items if isinstance(item, edgeemo.Failure)]


def turned(face: edgeemo.Face) -> bool:
    pose: edgeemo.HeadPose | None = face.head_pose
    points: NDArray[np.float32] = face.points
    estimate: edgeemo.EmotionEstimate | None = face.estimate
    return pose is not None and abs(pose.yaw_deg) > 30 and points.size > 0 and estimate is not None


def scores(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    model: edgeemo.Model = edgeemo.open_bundle()
    return model.predict(crops)


def sent(analyzer: edgeemo.Analyzer, received: bytearray, pixels: NDArray[np.uint8]) -> list[str]:
    pictures: list[bytearray | NDArray[np.uint8]] = [received, pixels]
    return [face.label for item in analyzer.images(pictures) for face in item]


def study(films: Path) -> dict[str, str]:
    report: edgeemo.AnalyzeReport = edgeemo.analyze(films, films / "all.csv", workers=2)
    return {failure.file: failure.reason for failure in report.failures}


def hours(folder: Path) -> int:
    with edgeemo.open_log(folder, since="7d") as log:
        return len(log.summary(by="hour").fetchall())


def main() -> None:
    try:
        with edgeemo.Analyzer(max_faces=2, tau=0.5, reach="far") as analyzer:
            print(smiles(analyzer, Path("photo.jpg")), widths(analyzer, "film.mp4"))
            count: int = analyzer.video(0).to_csv("camera.csv")
            print(count, analyzer.labels)
    except edgeemo.CameraError as error:
        print(error, error.exit_code)
