"""Models of mixed precision: which layers stay in float, and why."""
