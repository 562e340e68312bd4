"""A model's file, of any kind, opened and checked."""
