"""Policies, judges and the guard: what may leave, and who says so.

`policies/` holds what each age band may read, `judges/` one file a judge, and `guard.py` the only door out; `telling.py`
and `holdback.py` are that door while a text streams, `guarded_chat.py` the same around any chat model. `fitting.py` fits
thresholds to labelled texts.
"""

if __name__ != "taleward.moderation":
    msg = "this folder is the package taleward.moderation; import it by that name"
    raise ImportError(msg)
