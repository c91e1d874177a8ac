"""Prompts in the form that one kind of image model takes; one file each."""
