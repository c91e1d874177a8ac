"""The embedded judge, which ships with Taleward."""
