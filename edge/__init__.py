"""edgeemo's device package: camera frames in, emotion records out.

Nothing here needs TensorFlow, and nothing imports ``host_training``, ``converters`` or ``deploy``,
but for ``cli_convert``, ``cli_data``, ``cli_evaluate`` and ``cli_train``, which compose the
workstation's commands inside functions.
"""
