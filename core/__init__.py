"""Types that every other package shares: verdicts, tales, policies, events and errors. Imports no heavy library."""

if __name__ != "taleward.core":
    msg = "this folder is the package taleward.core; import it by that name"
    raise ImportError(msg)
