"""Attack a guard as children and attackers do, and count what gets through."""
