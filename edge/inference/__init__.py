"""Models on the device: opened, guarded, run, tested by golden outputs."""
