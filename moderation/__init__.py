"""Policies, judges and the guard: what may leave, and who says so.

`policies/` holds what each age band may read, `judges/` one file a judge, and `guard.py` the only door out. That door
while a text streams is `telling.py` with `holdback.py`, and around any chat model `guarded_chat.py`. `fitting.py` fits
thresholds to labelled texts.
"""

if __name__ != "taleward.moderation":
    msg = "this folder is the package taleward.moderation; import it by that name"
    raise ImportError(msg)
