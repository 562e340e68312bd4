"""Reading what was written: `edgeemo logs`. Only `tail` works without DuckDB, on a lean device."""
