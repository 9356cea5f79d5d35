"""Training a generator on one's own images."""
