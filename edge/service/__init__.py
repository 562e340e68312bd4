"""The running service: loop, records, signals."""
