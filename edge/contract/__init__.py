"""What host and device agree on: labels, alignment, quantisation, bundle, log records.

Leaf modules: numpy, msgspec and the standard library. (``align`` calls OpenCV for its one
warp, imported where it is used.) Training, conversion and the device all import this code,
so a crop, a label or a hash cannot mean two things.
"""
