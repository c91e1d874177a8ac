"""How the embedded judge is trained and measured."""
