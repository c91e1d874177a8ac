"""Adapters for generative guard models, one file per model family."""
