"""A chart as a value: stacked bars, and the same figures as a table.

A figure that `--json` has is named by its place there (`conversations.0.octets`), so that what is
shown is what was measured; only sums, shares and lengths are worked out for a chart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Bar", "Chart", "Part", "Row", "Segment", "amount_of", "stack"]


class Part(msgspec.Struct, frozen=True):
    """What a segment stands for: the number of its series, its name, how much it is."""

    series: int
    words: str
    amount: float


class Segment(msgspec.Struct, frozen=True):
    """A part as it is drawn; `start` and `length` are per cent of the chart's width."""

    series: int
    words: str
    start: float
    length: float


class Bar(msgspec.Struct, frozen=True):
    """One bar: what it is about, how much it is in all, and its parts from left to right."""

    label: str
    total: str
    segments: tuple[Segment, ...]


class Row(msgspec.Struct, frozen=True):
    """A line of a chart's table: each cell is a figure's place in the JSON, or nothing."""

    series: int
    words: str
    cells: tuple[str | None, ...]


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """Bars, and a table whose first column is their legend.

    A series has a number beside its colour, for those who cannot tell the colours apart.

    Attributes:
        name: for links.
        title: what stands against what.
        words: what there is to see, in a sentence.
        bars: from top to bottom.
        columns: of the table, after the first.
        rows: of the table.
        totals: the table's last row, in words, if it has one.
        totals_words: what the last row is.
    """

    name: str
    title: str
    words: str
    bars: tuple[Bar, ...]
    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    totals: tuple[str, ...] = ()
    totals_words: str = "in all"


def stack(
    labelled: Iterable[tuple[str, Sequence[Part]]],
    words: Callable[[float], str],
    *,
    longest: float,
) -> tuple[Bar, ...]:
    """A bar for each label.

    Args:
        labelled: what the bars are about, and of what they are made.
        words: an amount for people.
        longest: the amount that is as long as the chart is wide.
    """
    return tuple(
        Bar(label, words(amount_of(parts)), tuple(_segments(parts, words, longest)))
        for label, parts in labelled
    )


def _segments(
    parts: Iterable[Part], words: Callable[[float], str], longest: float
) -> Iterable[Segment]:
    start = 0.0
    for part in parts:
        length = part.amount / longest * 100
        yield Segment(part.series, f"{part.words}: {words(part.amount)}", start, length)
        start += length


def amount_of(parts: Iterable[Part]) -> float:
    """How much the parts are together."""
    return sum(part.amount for part in parts)
