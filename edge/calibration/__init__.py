"""Calibrating a bundle's decision on labelled pictures: numpy only, in seconds, on a device too."""
