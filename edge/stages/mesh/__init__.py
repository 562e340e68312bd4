"""Face meshers behind one protocol."""
