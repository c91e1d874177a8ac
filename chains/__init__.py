"""Prompt templates, and the chains that write from them."""

if __name__ != "taleward.chains":
    msg = "this folder is the package taleward.chains; import it by that name"
    raise ImportError(msg)
