"""What a workstation makes of devices' logs: DuckDB reads them where they lie."""
