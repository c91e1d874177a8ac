"""Models behind a spec: chat models, embeddings, classifiers.

The public names are listed in `__init__.pyi`; each is loaded when it is first used.
"""

if __name__ != "taleward.backends":
    msg = "this folder is the package taleward.backends; import it by that name"
    raise ImportError(msg)

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
