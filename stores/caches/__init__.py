"""Caches for embeddings and for chat answers, exact or semantic."""
