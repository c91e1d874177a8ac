"""Train and measure the embedded judge."""
