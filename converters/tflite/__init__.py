"""TFLite files: made, read and described."""
