"""The ledger's dates, which are numbers in a database."""

from __future__ import annotations

import pytest

from asynctls.ttp import clock


def test_a_date_of_the_ledger_is_the_one_that_was_written() -> None:
    now = clock.now()
    assert clock.moment(int(now.timestamp())) == now


# What the standard library has an OverflowError, a ValueError and an OSError for.
@pytest.mark.parametrize("seconds", [1 << 40, 1 << 55, 1 << 62, -(1 << 62)])
def test_a_number_that_is_no_date_has_one_kind_of_error(seconds: int) -> None:
    with pytest.raises(OverflowError):
        clock.moment(seconds)
