"""Perceptual networks: LPIPS, DISTS, MS-SSIM, identity, KID, finding faces."""
