"""What a target makes of a table."""

from __future__ import annotations

import pytest

from tests.bench.figures import Table, Target, quotient

AT_MOST = Target("at most theirs", "ours", "theirs", 1.0)


def table(**rounds: list[float]) -> Table:
    return Table("a scenario", "µs", rounds=rounds)


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    # The third round met a busy machine: both took ten times as long.
    row = quotient(table(ours=[9.0, 8.0, 100.0], theirs=[10.0, 10.0, 100.0]), AT_MOST)
    assert row.ratio == pytest.approx(0.9)
    assert row.holds


def test_a_target_that_is_missed_does_not_hold() -> None:
    assert quotient(table(ours=[11.0], theirs=[10.0]), AT_MOST).holds is False


def test_a_rate_holds_from_its_limit_on() -> None:
    target = Target("at least 200", "ours", None, 200, at_least=True)
    assert quotient(table(ours=[200.0]), target).holds
    assert quotient(table(ours=[199.0]), target).holds is False


def test_a_target_against_a_peer_that_is_absent_is_not_measured() -> None:
    row = quotient(table(ours=[1.0]), AT_MOST)
    assert (row.ratio, row.holds) == (None, None)
