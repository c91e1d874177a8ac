"""Model specs, option validation, and the embedded models' locations."""
