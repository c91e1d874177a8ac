"""The written corpus: stories with requests, judged pairs and labeled passages, all by hand."""
