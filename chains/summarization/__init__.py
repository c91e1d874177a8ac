"""Summarization: extractive or generated summaries, checked for faithfulness and judged."""
