"""The local inference engine: continuous batching, sampling, grammars, token likelihoods."""
