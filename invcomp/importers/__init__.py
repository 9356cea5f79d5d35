"""Readers of other people's checkpoints, as data: each is exact, or refuses in one line."""
