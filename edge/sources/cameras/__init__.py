"""Cameras: one adapter for each way in which a system offers them."""
