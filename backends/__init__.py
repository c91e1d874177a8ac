"""Chat models and embeddings behind a model spec, and the embedded models."""

if __name__ != "taleward.backends":
    msg = "this folder is the package taleward.backends; import it by that name"
    raise ImportError(msg)
