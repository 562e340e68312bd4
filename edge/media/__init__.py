"""Pictures and what files are, by their content."""
