"""Subcommands, one file per subject."""
