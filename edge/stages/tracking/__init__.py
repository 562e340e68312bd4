"""Faces that stay the same over frames."""
