"""From a model to a measured bundle."""
