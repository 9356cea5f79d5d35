"""Images before they are searched for: fitted to the generator's frame, weighted by region."""
