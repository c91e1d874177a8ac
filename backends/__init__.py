"""Chat models and embeddings behind a model spec, and the embedded models.

`chat.py` and `embeddings.py` hold the tables from provider to loader; `huggingface.py` runs models here, `hosted.py`
reaches those behind an API; `models/` holds the weights that come with Taleward, each with its card.
"""

if __name__ != "taleward.backends":
    msg = "this folder is the package taleward.backends; import it by that name"
    raise ImportError(msg)
