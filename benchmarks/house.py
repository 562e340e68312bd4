"""Count modules and lines by package: how large the house is.

Used as ``python benchmarks/house.py [COMMIT]``, on the files of a commit (HEAD by default); prints
a table in Markdown.
"""

import subprocess
import sys
from collections import Counter

TOP = ("edgeemo", "edge", "host_training", "converters", "deploy", "tests")


def main(commit: str) -> None:
    """Print the table."""
    modules: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for path in git("ls-tree", "-r", "--name-only", commit).splitlines():
        parts = path.split("/")
        if parts[0] in TOP and path.endswith(".py"):
            for package in {parts[0], "/".join(parts[: min(2, len(parts) - 1)])}:
                modules[package] += 1
                lines[package] += git("show", f"{commit}:{path}").count("\n")
    print("| package | modules | lines |\n|---|---|---|")
    for package in sorted(modules, key=lambda name: (TOP.index(name.split("/")[0]), name)):
        name = package if "/" not in package else f"&nbsp;&nbsp;{package.partition('/')[2]}"
        print(f"| {name} | {modules[package]} | {lines[package]:,} |")
    total = [name for name in modules if "/" not in name]
    print(f"| all | {sum(modules[t] for t in total)} | {sum(lines[t] for t in total):,} |")
    flat = [p for p in git("ls-tree", "--name-only", f"{commit}:edge").splitlines() if "." in p]
    print(f"\nTop-level modules of edge: {sum(p.endswith('.py') for p in flat)}")


def git(*words: str) -> str:
    """Return what git prints."""
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "HEAD")
