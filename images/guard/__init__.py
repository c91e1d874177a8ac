"""Judges of pictures, and the guard that releases only pictures which passed them."""
