"""Zero-shot and few-shot classification."""
