"""edgeemo's device package: camera frames in, emotion records out.

Nothing here needs TensorFlow, and nothing imports ``host_training``, ``converters`` or ``deploy``,
but for ``cli_host`` and ``cli_convert``, which compose the workstation's commands inside functions.
"""
