"""Hundreds of devices at a time need more descriptors than a shell allows by default."""

import subprocess
import sys

PROGRAM = """
import resource
soft, hard = 128, min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4096)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from deploy.ssh.transport import use_gevent
use_gevent()
print(resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard))
"""


def test_as_many_as_may_be_had_are_asked_for():
    """The soft limit is raised to the hard one, which is left alone."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)  # noqa: PLW1510
    assert done.stdout == "True\n", done.stderr
