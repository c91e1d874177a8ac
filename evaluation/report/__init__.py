"""Evaluation reports as HTML pages with plots."""
