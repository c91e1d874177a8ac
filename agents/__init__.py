"""Tools, the ways to choose one, the router, and what guards agents that others built.

`tools/` holds one file a tool; `router.py` takes a request to one by the ways in `semantic.py`, `constrained.py` and a
model that calls tools, within the bounds of `keeping.py`; `chat.py` is all of it as a conversation, which `threads.py`
keeps. `middleware.py` is for LangChain agents of your own.
"""

if __name__ != "taleward.agents":
    msg = "this folder is the package taleward.agents; import it by that name"
    raise ImportError(msg)
