"""Evaluation: metrics, judged runs in MLflow, comparison, gates and human feedback.

The public names are listed in `__init__.pyi`; each is loaded when it is first used.
"""

if __name__ != "taleward.evaluation":
    msg = "this folder is the package taleward.evaluation; import it by that name"
    raise ImportError(msg)

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
