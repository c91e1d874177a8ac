"""Makes the language model that tells English from other languages: `python -m training.language.train`."""
