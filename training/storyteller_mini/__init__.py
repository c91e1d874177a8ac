"""Train and measure the embedded storyteller."""
