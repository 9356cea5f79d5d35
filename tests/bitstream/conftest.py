from hypothesis import settings

# hypothesis gives an example 200 ms; no test here is about time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
