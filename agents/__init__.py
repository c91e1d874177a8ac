"""Tools, the ways to choose one, the router, and what guards agents that others built."""

if __name__ != "taleward.agents":
    msg = "this folder is the package taleward.agents; import it by that name"
    raise ImportError(msg)
