"""Verdicts kept on disk without the texts."""
