"""Models run by the transformers library."""
