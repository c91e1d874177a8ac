"""Binding picture books: HTML, EPUB, PDF, or a folder with a manifest."""
