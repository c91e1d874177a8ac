"""An evaluation as an HTML page with plots."""
