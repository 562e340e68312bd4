"""What is on this machine, and what to do about what is missing."""

from edge.doctor.examine import examine
from edge.doctor.report import Check, Status, show

__all__ = ["Check", "Status", "examine", "show"]
