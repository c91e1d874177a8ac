"""Threads: LangGraph checkpoints in one SQLite file."""
