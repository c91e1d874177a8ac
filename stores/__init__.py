"""What is kept so that nothing is computed twice: vectors, documents, answers and tales.

`embedding_cache.py` stands in front of any embeddings; `faiss_store.py` and `chroma_store.py` are vector stores with
one contract (`base.py`) and one filter language (`filters.py`); `answers.py` keeps judged answers, `memory.py` tales.
Every store holds plain data, survives a kill at any moment, and deletes by id.
"""

if __name__ != "taleward.stores":
    msg = "this folder is the package taleward.stores; import it by that name"
    raise ImportError(msg)
