"""Conversations kept in SQLite for LangGraph."""
