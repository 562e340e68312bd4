"""Data sets: readers for each form, one value (``Samples``) for all of them, and the audit."""
