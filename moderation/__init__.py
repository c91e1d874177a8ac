"""Policies, judges and the guard: what may leave, and who says so."""

if __name__ != "taleward.moderation":
    msg = "this folder is the package taleward.moderation; import it by that name"
    raise ImportError(msg)
