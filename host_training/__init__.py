"""Keras on the workstation: read data sets, train, evaluate."""
