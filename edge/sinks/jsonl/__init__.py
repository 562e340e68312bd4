"""Records as JSON Lines in a local directory that survives a pulled plug and a full disk."""

from edge.sinks.jsonl.sink import JsonlSink

__all__ = ["JsonlSink"]
