"""Model specs, options and the embedded models' locations."""
