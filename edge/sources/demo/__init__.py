"""A moving face with known ground truth."""
