"""Run a bundle's golden probes on this environment's runtime, and hold it to what was measured.

usage: python tests/hosts/golden.py BUNDLE [BUNDLE...]     (the repository's root on the path)
"""

import json
import platform
import sys
from pathlib import Path
from typing import Final

from edge.contract.bundle import open_bundle
from edge.golden import compare_golden
from edge.interpreter import runtime_name

BOUNDS: Final = {"ai-edge-litert": (1, 0), "tflite-runtime": (20, 1)}
"""By distribution: output steps, and probes with another answer, for the packaged model.

docs/quantisation.md has what was measured, of other models too. LiteRT computes the same on one
processor, and one step of rounding apart on another.
"""


def main(bundles: list[str]) -> int:
    """Print a line of JSON for each bundle; 1 if one is out of bounds."""
    runtime = runtime_name()
    steps, answers = BOUNDS[runtime.split()[0]]
    met = True
    for path in bundles:
        result = compare_golden(open_bundle(Path(path)))
        within = result.steps <= steps and result.probes - result.same_answers <= answers
        met &= within
        line = {
            "bundle": path,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "runtime": runtime,
            "steps": result.steps,
            "same_answers": result.same_answers,
            "probes": result.probes,
            "within": within,
        }
        print(json.dumps(line))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
