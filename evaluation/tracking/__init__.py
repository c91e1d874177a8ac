"""Recording in MLflow: tales as traces, evaluations and judge benchmarks as runs, templates, scorers."""
