"""Backgrounds of scenes, drawn by the collage itself."""
