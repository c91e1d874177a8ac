"""How the embedded storyteller is trained and measured."""
