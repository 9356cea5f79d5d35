"""Preprocessing of images: fitting to the generator's frame, weights of a region of interest."""
