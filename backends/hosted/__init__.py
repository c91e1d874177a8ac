"""Chat models and embeddings behind an HTTP API."""
