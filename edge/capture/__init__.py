"""Capturing labelled pictures of people who have agreed to it, and forgetting them again."""
