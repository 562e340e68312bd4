"""Use a built wheel as a new user would: in an empty folder, on each Python that is here.

python tests/hosts/dist.py build/dist [3.11 3.13]
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import sys
import edgeemo
frame = edgeemo.Analyzer().image(sys.argv[1])
assert [face.label for face in frame] == ["happiness"], frame
frame.draw().save("seen.png")
assert len(edgeemo.Analyzer().video("demo", max_frames=5).to_table()) > 0
"""
COMMANDS = (
    "run --source demo --max-frames 5 --snapshot demo.png --log-dir log",
    "logs tail log",
    "config example",
    "inspect default",
    "analyze pictures -o table.csv --workers 1",
    "deploy --help",
    "doctor",
)
TYPED = Path(__file__).parents[1] / "edgeemo" / "typed_program.py"
"""A user's program, which mypy --strict must accept against the installed wheel."""


def main(dist: Path, versions: list[str]) -> None:
    """Install the wheel without constraints, and do what the README shows."""
    (wheel,) = dist.glob("*.whl")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in
            sorted(dist.iterdir()) if path.suffix in {".whl", ".gz"}]  # fmt: skip
    (dist / "SHA256SUMS").write_text("".join(sums))
    tried = [version for version in versions if use(wheel.resolve(), f"python{version}")]
    if not tried:
        sys.exit("no Python was found: nothing was tried")
    print(f"{wheel.name}: works on Python {', '.join(tried)}")


def use(wheel: Path, python: str) -> bool:
    """Return whether this Python is here; ends the program if the wheel does not work on it."""
    if shutil.which(python) is None or subprocess.run([python, "-c", ""], check=False).returncode:
        print(f"{python} is not here: left out", file=sys.stderr)
        return False
    with tempfile.TemporaryDirectory(prefix="edgeemo-dist-") as place:
        folder = Path(place)
        run([python, "-m", "venv", "venv"], folder)
        pip = [folder / "venv" / "bin" / "pip", "install", "-q", "--disable-pip-version-check"]
        run([*pip, wheel], folder)
        try_out(folder)
        run([*pip, "mypy"], folder)
        run([folder / "venv" / "bin" / "mypy", "--strict", "--config-file=", TYPED], folder)
    return True


def try_out(folder: Path) -> None:
    """Do what the README shows, with what is installed in ``folder/venv``; ends the program."""
    binaries = folder / "venv" / "bin"
    code = "from edge.assets.store import ASTRONAUT, asset_path; print(asset_path(ASTRONAUT))"
    photo = run([binaries / "python", "-c", code], folder).strip()
    (folder / "pictures").mkdir()
    shutil.copy(photo, folder / "pictures")
    run([binaries / "python", "-c", PROGRAM, photo], folder)
    for line in COMMANDS:
        allowed = (0, 1) if line == "doctor" else (0,)  # which finds no camera on a server
        run([binaries / "edgeemo", *line.split()], folder, allowed)
    if not all((folder / name).is_file() for name in ("seen.png", "demo.png", "table.csv")):
        sys.exit(f"{folder}: a file is missing")


def run(words: list[object], folder: Path, allowed: tuple[int, ...] = (0,)) -> str:
    """Run a command in the folder; ends the program if it fails."""
    command = list(map(str, words))
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in allowed:
        sys.exit(f"{' '.join(command[:4])}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["3.11", "3.13"])
