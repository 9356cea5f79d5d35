"""Small networks distilled from a generator that make its search faster. Decoding needs none."""
