"""The live page: what the pipeline sees, in a browser. Needs the extra ``[view]``."""
