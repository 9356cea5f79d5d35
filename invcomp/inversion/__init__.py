"""Inversion: the search for the quantised coordinates of an image, and rate control."""
