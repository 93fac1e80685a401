"""The profile of 'make fuzz': every test that makes up its inputs, with many more of them."""

import pytest
from hypothesis import settings

settings.register_profile("fuzz", max_examples=20_000, deadline=None, print_blob=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--connections", type=int, default=200, help="To daemons that are fuzzed.")
    parser.addoption("--first", type=int, default=0, help="The first one's number.")
