"""A camera, drawn over and recorded until Ctrl-C; `edgeemo view` shows one live in a browser.

python examples/webcam_overlay.py 0 seen.avi
"""

import sys

import cv2

import edgeemo


def main(source: str, out: str, most: str = "1000000") -> None:
    writer = None
    with edgeemo.Analyzer() as analyzer:
        for frame in analyzer.video(source, max_frames=int(most)):
            picture = frame.draw().image
            if writer is None:
                size = picture.shape[1], picture.shape[0]
                writer = cv2.VideoWriter(out, cv2.VideoWriter.fourcc(*"MJPG"), 15, size)
            writer.write(picture)
            print(frame.index, *(f"#{face.track_id} {face.label}" for face in frame), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
