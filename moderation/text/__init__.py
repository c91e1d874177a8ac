"""Read a text for the judges: sentences, windows, normalization, language, listed words, personal data."""
