"""Serve guards over HTTP: an OpenAI-compatible endpoint that releases only judged text, and a page for children.

The public names are listed in `__init__.pyi` and are imported on first use.
"""

if __name__ != "taleward.serving":
    msg = "this folder is the package taleward.serving; import it by that name"
    raise ImportError(msg)

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
