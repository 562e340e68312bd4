"""A photo: who looks how, and a picture that shows it.

python examples/photo.py photo.jpg seen.png
"""

import sys

import edgeemo


def main(photo: str, out: str) -> None:
    with edgeemo.Analyzer(max_faces=20) as analyzer:
        frame = analyzer.image(photo)
    for face in frame:
        left, top, right, bottom = face.box_xyxy
        print(
            f"{face.label} {face.confidence:.0%} at {left:.0f},{top:.0f}-{right:.0f},{bottom:.0f}"
        )
    if not frame.faces:
        print("no face")
    frame.draw().save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
