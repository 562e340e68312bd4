"""What `edgeemo run` costs on this machine, measured."""
