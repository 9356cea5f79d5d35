"""Perceptual networks: LPIPS, DISTS, MS-SSIM, identity, and the features of KID."""
