"""Measures codecs: metrics, rate-distortion curves beside conventional codecs, and their report."""
