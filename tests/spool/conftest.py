"""A busy machine is no reason to fail: examples have no deadline."""

from hypothesis import settings

settings.register_profile("dmtools", deadline=None)
settings.load_profile("dmtools")
