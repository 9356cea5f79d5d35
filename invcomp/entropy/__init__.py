"""Entropy coding of quantised coordinates: the prior as a density and as tables, and the coder."""
