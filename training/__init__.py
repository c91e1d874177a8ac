"""How the embedded models are made."""

if __name__ != "taleward.training":
    msg = "this folder is the package taleward.training; import it by that name"
    raise ImportError(msg)
