"""A model folder as one object: network, tokenizer, sampling, and the bridge from a cache to distributions."""
