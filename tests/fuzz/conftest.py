"""The profile of 'make fuzz': every test that makes up its inputs, with many more of them."""

from hypothesis import settings

settings.register_profile("fuzz", max_examples=20_000, deadline=None, print_blob=True)
