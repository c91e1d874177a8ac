"""Taleward's own routes: tales with all events, and the templates."""
