"""Load, extend and compare policies; the shipped YAML files."""
