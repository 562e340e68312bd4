"""Devices' logs, brought to a workstation and verified."""
