"""edgeemo: facial emotions on small devices; the command, and what stands above its packages."""

from edge._version import __version__ as __version__
