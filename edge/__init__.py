"""edgeemo's device package: camera frames in, emotion records out.

Nothing here needs TensorFlow, and nothing imports ``host_training``, ``converters``, ``deploy`` or
``edgeemo``, which stand above it.
"""

__version__ = "0.1.0"
