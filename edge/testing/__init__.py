"""Fakes for every protocol, and a camera that misbehaves on demand."""
