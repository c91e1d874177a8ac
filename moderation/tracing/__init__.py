"""Callbacks of runs whose output is unmoderated."""
