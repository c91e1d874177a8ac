"""Models that run on torch, through the transformers library."""
