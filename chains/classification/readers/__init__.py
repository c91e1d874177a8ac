"""Ways to read label scores out of a model, one file per way."""
