"""The latent space: its Gaussian prior, and the perceptual coordinates that are quantised."""
