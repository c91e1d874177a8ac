"""What judges read in a text: sentences, windows, normalization, language, listed words, personal data."""
