"""Readers of third-party checkpoints, as data: exact, or failing with a one-line reason."""
