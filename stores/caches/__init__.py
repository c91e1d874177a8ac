"""Caches: embeddings, chat answers, semantically equal questions."""
