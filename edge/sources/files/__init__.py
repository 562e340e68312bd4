"""Frames from films and folders of pictures."""
