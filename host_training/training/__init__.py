"""One training run, from the first weights to the last report."""
