"""What a target makes of a table."""

from __future__ import annotations

import pytest

from tests.bench.figures import Curve, Table, Target, growth, quotient
from tests.bench.lines import drawn

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


def curve(**lines: dict[int, float]) -> Curve:
    made = Curve("a scenario", "µs", "rows")
    for name, line in lines.items():
        for size, figure in line.items():
            made.add(name, size, figure)
    return made


AT_MOST_LINEAR = Target("at most linear", "ours", None, 1.05)


def test_what_grows_as_its_size_is_linear() -> None:
    row = growth(curve(ours={100: 2.0, 10: 0.2, 1000: 20.0}), AT_MOST_LINEAR)
    assert row.ratio == pytest.approx(1.0)
    assert row.holds


def test_what_grows_steeply_at_the_end_alone_is_not() -> None:
    # From first to last it grows by a factor of 10 over 100 times the size.
    row = growth(curve(ours={10: 100.0, 100: 10.0, 1000: 1000.0}), AT_MOST_LINEAR)
    assert row.ratio == pytest.approx(2.0)
    assert row.holds is False


def test_a_curve_without_its_line_is_not_measured() -> None:
    row = growth(curve(theirs={1: 1.0}), AT_MOST_LINEAR)
    assert (row.ratio, row.holds) == (None, None)


def test_a_picture_by_powers_of_ten_draws_linear_growth_straight() -> None:
    picture = drawn(curve(ours={10: 0.1, 100: 1.0, 1000: 10.0}))
    (line,) = picture.lines
    assert picture.logarithmic
    assert [point.x for point in line.points] == pytest.approx([0, 50, 100])
    assert [point.y for point in line.points] == pytest.approx([100, 50, 0])
    assert [mark.words for mark in picture.up] == ["0.1", "1", "10"]


def test_a_picture_of_sizes_of_one_order_begins_at_nothing() -> None:
    picture = drawn(curve(ours={2000: 30.0, 8000: 31.0}))
    (line,) = picture.lines
    assert not picture.logarithmic
    assert [point.x for point in line.points] == [25, 100]
    assert [mark.words for mark in picture.up] == ["0", "10", "20", "30", "40"]
