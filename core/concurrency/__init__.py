"""Threads, event loops, deadlines and batch sizes that every layer shares."""
