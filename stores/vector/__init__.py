"""FAISS and Chroma vector stores with one interface and one filter language."""
