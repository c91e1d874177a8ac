"""The command line."""

if __name__ != "taleward.cli":
    msg = "this folder is the package taleward.cli; import it by that name"
    raise ImportError(msg)
