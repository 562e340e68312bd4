"""From a request to a running pipeline: the one place that knows every adapter."""
