"""OpenAI's routes, answered behind guards."""
