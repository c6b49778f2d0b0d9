"""The network half: configuration, weights, operations, cache, and one file a family. It knows nothing of chance."""
