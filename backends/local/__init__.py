"""Chat models that run in this process, and what they share across engines."""
