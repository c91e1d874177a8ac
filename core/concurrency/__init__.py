"""Threads, event loops, timeouts and batch sizes."""
