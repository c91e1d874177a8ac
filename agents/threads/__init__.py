"""Threads: LangGraph checkpoints in one SQLite file, or in Postgres."""
