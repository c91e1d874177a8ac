"""Chat models whose output is moderated."""
