"""Models known by name: those that ship, and those downloaded into the user's cache."""
