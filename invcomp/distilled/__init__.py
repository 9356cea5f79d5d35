"""Small networks distilled from a generator that make its search faster; files need them not."""
