"""Cache verdicts on disk without storing the judged texts."""
