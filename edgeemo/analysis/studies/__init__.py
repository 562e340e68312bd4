"""Logs as studies need them: sessions, segments, tables, and agreement with people."""
