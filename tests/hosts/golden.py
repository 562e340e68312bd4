"""Run a bundle's golden probes on this environment's runtime, and hold it to what was measured.

usage: python tests/hosts/golden.py BUNDLE [BUNDLE...]     (the repository's root on the path)
"""

import json
import platform
import sys
from pathlib import Path
from typing import Final

from edge.contract.bundle import open_bundle
from edge.inference.golden import compare_golden
from edge.inference.interpreter import runtime_name

MOST_STEPS: Final = 1
"""What one processor's rounding may differ by from another's; on one processor there is nothing.

A bundle has the outputs of both kinds of integer kernels, so no runtime needs more.
"""


def main(bundles: list[str]) -> int:
    """Print a line of JSON for each bundle; 1 if one is out of bounds."""
    runtime = runtime_name()
    met = True
    for path in bundles:
        result = compare_golden(open_bundle(Path(path)))
        within = result.steps <= MOST_STEPS and result.same_answers == result.probes
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
