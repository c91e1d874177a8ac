"""Adapters for generative guard models, one file per family."""
