"""Tune writers and judges on stories and people's feedback, promote what got better, and deploy it.

The public names are listed in `__init__.pyi` and are imported on first use.
"""

if __name__ != "taleward.tuning":
    msg = "this folder is the package taleward.tuning; import it by that name"
    raise ImportError(msg)

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
