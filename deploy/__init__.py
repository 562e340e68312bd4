"""Pushing releases to devices over SSH. Imports no machine-learning library."""
