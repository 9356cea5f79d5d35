"""Trains generators on user images, and distils small networks from a generator."""
