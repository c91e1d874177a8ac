"""What is measured, and what MLflow keeps of it.

`recorder.py` keeps tales as traces. `run.py` is `evaluate`: a system on a data set, measured by `metrics/`, and
kept as a run; `compare.py` and `gates.py` decide between runs. `judge_bench.py` measures judges. `feedback.py` and its
neighbours bring in what people say.
"""

if __name__ != "taleward.evaluation":
    msg = "this folder is the package taleward.evaluation; import it by that name"
    raise ImportError(msg)
