"""The latent space: its interface, its prior, and the perceptual coordinates that are quantised."""
