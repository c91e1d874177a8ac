"""People's feedback on tales."""
