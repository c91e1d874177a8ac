"""Prompt templates, and chains that write stories, summarize and classify.

The public names are listed in `__init__.pyi` and are imported on first use.
"""

if __name__ != "taleward.chains":
    msg = "this folder is the package taleward.chains; import it by that name"
    raise ImportError(msg)

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
