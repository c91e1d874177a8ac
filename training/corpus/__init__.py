"""The written corpus: stories with their requests, judged pairs and labeled passages, all written by hand for Taleward."""
