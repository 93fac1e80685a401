"""The profile of 'make fuzz': every test that makes up its inputs, with many more of them."""

import pytest
from hypothesis import settings

_EXAMPLES = 20_000


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--connections", type=int, default=200, help="To daemons that are fuzzed.")
    parser.addoption("--first", type=int, default=0, help="The first one's number.")
    parser.addoption("--examples", type=int, default=_EXAMPLES, help="Of the profile 'fuzz'.")


# Before Hypothesis loads the profile that was asked for.
@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    examples = config.getoption("--examples", default=_EXAMPLES)
    settings.register_profile("fuzz", max_examples=examples, print_blob=True)
