"""Files that are not in the repository: fetched once, checked by their hash."""
