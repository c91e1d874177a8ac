"""Benchmarks of Taleward against other libraries, measured in the same run. See benchmarks/README.md."""
