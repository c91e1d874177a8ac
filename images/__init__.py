"""Prompts for pictures, image models, and the guard that releases only judged pictures.

The public names are listed in `__init__.pyi` and are imported on first use.
"""

if __name__ != "taleward.images":
    msg = "this folder is the package taleward.images; import it by that name"
    raise ImportError(msg)

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
