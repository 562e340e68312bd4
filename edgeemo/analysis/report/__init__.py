"""`edgeemo logs report`: one HTML file that opens anywhere, now and in ten years."""

from edgeemo.analysis.report.page import write_report

__all__ = ["write_report"]
