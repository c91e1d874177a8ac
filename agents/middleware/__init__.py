"""Middleware for LangChain agents: guard, limits, run-once calls."""
