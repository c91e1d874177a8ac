"""The judge that ships with Taleward."""
