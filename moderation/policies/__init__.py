"""Policies: loading, inheritance, comparison; the shipped YAML files."""
