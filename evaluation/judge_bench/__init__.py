"""Benchmarks of judges on labeled texts."""
