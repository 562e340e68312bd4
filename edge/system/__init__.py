"""The machine and the process: facts, diagnostics, native libraries."""
