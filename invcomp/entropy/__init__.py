"""Entropy coding of quantised coordinates: their prior as a density and as tables, the coder."""
