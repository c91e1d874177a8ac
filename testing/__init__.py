"""Conformance suites that a part of your own can inherit; nothing in Taleward imports them.

`stores.py` holds what every vector store must do.
"""

if __name__ != "taleward.testing":
    msg = "this folder is the package taleward.testing; import it by that name"
    raise ImportError(msg)
