"""MLflow: runs, traces, prompts, scorers, recorded tales."""
