"""Prompts for pictures: written, criticized, taken from tales, and rendered for each kind of image model."""
