"""Evaluates codecs: metrics, rate-distortion curves against conventional codecs, reports."""
