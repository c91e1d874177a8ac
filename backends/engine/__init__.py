"""The local batching engine: requests, sampling, grammars, likelihoods."""
