"""Verdict, tale and policy types, and the errors. Nothing else, and nothing heavy."""

if __name__ != "taleward.core":
    msg = "this folder is the package taleward.core; import it by that name"
    raise ImportError(msg)
