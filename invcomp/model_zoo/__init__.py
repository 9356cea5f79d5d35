"""The models that can be had by name: what ships, and what is fetched into the user's cache."""
