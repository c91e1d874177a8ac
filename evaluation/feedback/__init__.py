"""People's feedback on recorded tales: stored in MLflow, exported, compared with the judge."""
