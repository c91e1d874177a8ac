"""The page: stories for a child, and a grown-ups' side behind a PIN."""
