"""edgeemo's device package: camera frames in, emotion records out.

Nothing here imports ``host_training``, ``converters`` or ``deploy`` (the one exception,
``edge.cli_host``, does so inside its commands only), and nothing here needs TensorFlow.
"""
