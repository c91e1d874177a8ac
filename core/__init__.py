"""What all floors speak of: verdicts, tales, policies, events and errors. Nothing heavy.

`frozen.py` is the base of every type; `files.py` and `records.py` read them from files, `display.py` shows them in
notebooks, `redact.py` keeps keys out of messages, `bridge.py` runs event loops for callers that have none.
"""

if __name__ != "taleward.core":
    msg = "this folder is the package taleward.core; import it by that name"
    raise ImportError(msg)
