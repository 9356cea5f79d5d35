"""Preprocessing: fitting and aligning to the generator's frame, weights of a region of interest."""
