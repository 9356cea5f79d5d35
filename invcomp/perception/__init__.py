"""Networks that look at images: LPIPS, DISTS, MS-SSIM, identity, and the features of KID."""
