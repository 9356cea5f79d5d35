"""Networks that look at images: here those that tell whether two faces are one person's."""
