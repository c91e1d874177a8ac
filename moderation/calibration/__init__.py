"""Calibrated scores and thresholds, fitted on labeled texts."""
