"""Summaries: extractive, generated, checked, judged."""
