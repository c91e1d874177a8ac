"""Let outputs of several systems meet in pairs, and rate the systems by who is preferred."""
