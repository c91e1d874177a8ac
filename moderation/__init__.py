"""Policies, judges and the guard: what may leave, and who says so.

`policies/` holds what each age band may read, `judges/` one file a judge, and `guard.py` the only door out.
"""

if __name__ != "taleward.moderation":
    msg = "this folder is the package taleward.moderation; import it by that name"
    raise ImportError(msg)
