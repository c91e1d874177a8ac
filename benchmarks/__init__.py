"""Measurements: ours and the peer side by side in one run. See benchmarks/README.md."""
