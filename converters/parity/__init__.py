"""Whether a converted model does what the original does: paired tests, gate, plots."""
