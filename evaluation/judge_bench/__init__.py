"""Judges measured on labeled texts."""
