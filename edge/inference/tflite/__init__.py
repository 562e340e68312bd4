"""What stands in a TFLite file, read without a runtime."""
