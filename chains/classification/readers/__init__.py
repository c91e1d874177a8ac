"""Label readers: ways to get labels or label scores out of a model, one per file."""
