"""`edgeemo logs report`: one HTML file that opens anywhere, now and in ten years."""

from edge.logs.report.page import write_report

__all__ = ["write_report"]
