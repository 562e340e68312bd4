"""Training runs as directories: read, listed, compared."""
