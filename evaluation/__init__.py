"""What MLflow keeps: tales as traces."""

if __name__ != "taleward.evaluation":
    msg = "this folder is the package taleward.evaluation; import it by that name"
    raise ImportError(msg)
