"""Agents: routing between tools, guard middleware, conversations that survive restarts.

The public names are listed in `__init__.pyi`; each is loaded on first use.
"""

if __name__ != "taleward.agents":
    msg = "this folder is the package taleward.agents; import it by that name"
    raise ImportError(msg)

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
