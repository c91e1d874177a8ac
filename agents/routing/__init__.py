"""Choosing a tool for a request."""
