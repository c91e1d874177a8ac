"""The judges, one small file each."""
