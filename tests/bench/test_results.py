"""What is made of a run: a table to quote, and a page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.bench.figures import Curve, Table, Target
from tests.bench.page import bars
from tests.bench.results import Results, write

if TYPE_CHECKING:
    from pathlib import Path

TABLE = Table(
    "a scenario",
    "µs",
    rounds={"asynctls": [9.0, 12.0, 10.0], "theirs": [8.0, 8.0, 8.0]},
    targets=(Target("at most 1.5 of theirs", "asynctls", "theirs", 1.5),),
    absent=("another",),
)


def test_a_bar_has_its_spread_and_its_target() -> None:
    theirs, ours = bars(TABLE)
    assert (theirs.name, theirs.ours, theirs.targets) == ("theirs", False, ())
    assert (ours.least, ours.median, ours.most) == pytest.approx((75, 1000 / 12, 100))
    assert ours.targets == pytest.approx((100,))


def test_a_run_is_written_to_be_read_quoted_and_looked_at(tmp_path: Path) -> None:
    results = Results("2026-01-02 03:04 UTC", {"cores": "2"}, full=True, tables=[TABLE])
    curve = Curve("growing", "ms", "rows", targets=(Target("flat", "look", None, 0.1),))
    for size in (10, 100, 1000):
        curve.add("look", size, 1.0)
    results.take(curve)
    as_json, quoted, page = write(results, tmp_path)
    assert [each["holds"] for each in json.loads(as_json.read_text())["targets"]] == [True, True]
    assert quoted.read_text().splitlines() == [
        "2026-01-02 03:04 UTC, a full run: cores 2.",
        "",
        "| what | who | against | target | measured | holds |",
        "|---|---|---|---|---|---|",
        "| a scenario | asynctls | theirs | at most 1.5 of theirs | 1.25 | yes |",
        "| growing | look |  | flat | 0.00 | yes |",
        "",
        "Not here: another.",
    ]
    html = page.read_text()
    assert "at most 1.5 of theirs — 1.25, holds" in html
    assert "<polyline" in html


def test_a_short_run_says_that_it_is_not_to_be_quoted(tmp_path: Path) -> None:
    _, quoted, page = write(Results("now", {}), tmp_path)
    assert "not to be quoted" in quoted.read_text()
    assert "not to be quoted" in page.read_text()
