"""Routing: choose the tool that a request is for."""
