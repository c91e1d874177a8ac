"""Run a task over millions of rows, on one machine or many: chunks, a ledger of finished ones, engines.

The public names are listed in `__init__.pyi` and are imported on first use.
"""

if __name__ != "taleward.batch":
    msg = "this folder is the package taleward.batch; import it by that name"
    raise ImportError(msg)

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
