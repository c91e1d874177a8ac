"""Calibrate a judge's scores and thresholds on labeled texts."""
