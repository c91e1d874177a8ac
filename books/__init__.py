"""Picture books: a judged story with judged pictures, planned page by page, and bound as HTML, EPUB and PDF.

The public names are listed in `__init__.pyi` and are imported on first use.
"""

if __name__ != "taleward.books":
    msg = "this folder is the package taleward.books; import it by that name"
    raise ImportError(msg)

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
