"""Vector stores on FAISS and Chroma behind one contract and one filter language."""
