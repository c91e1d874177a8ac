"""Taleward."""
