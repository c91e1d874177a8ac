"""Chat models and embeddings behind a model spec, and the embedded models.

`chat.py` and `embeddings.py` hold the tables from provider to loader. `local.py` is the chat model of whatever runs in
this process: `engine.py` batches its callers over `llama.py` (ONNX Runtime) or `huggingface.py` (transformers).
`hosted.py` reaches models behind an API, with the care of `calls.py`. `models/` holds the weights that come with
Taleward, each with its card.
"""

if __name__ != "taleward.backends":
    msg = "this folder is the package taleward.backends; import it by that name"
    raise ImportError(msg)
