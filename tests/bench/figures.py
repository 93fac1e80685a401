"""What was measured, and what it is held against."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from itertools import pairwise
from math import log

__all__ = ["Curve", "Row", "Table", "Target", "growth", "quotient"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a ratio must be: one contender's figure over another's. Of a curve: how steep it may be.

    Attributes:
        words: where it comes from.
        ours: the contender whose figure is judged.
        against: the one that it is held against; None: `limit` is in the table's unit, and of a
            curve the exponent with which it grows (`growth`): 1 is linear, 0 is flat.
        limit: the most that may be (the least, where `at_least`).
        at_least: more is better.
    """

    words: str
    ours: str
    against: str | None
    limit: float
    at_least: bool = False


@dataclass(slots=True)
class Table:
    """One figure of several contenders, in interleaved rounds.

    Attributes:
        title: what was done.
        unit: of the figures.
        more_is_better: a rate, not a cost.
        rounds: by contender.
        targets: what is asked of it.
        absent: peers that are not here.
    """

    title: str
    unit: str
    more_is_better: bool = False
    rounds: dict[str, list[float]] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()
    absent: tuple[str, ...] = ()

    def add(self, contender: str, figure: float) -> None:
        """One round's figure."""
        self.rounds.setdefault(contender, []).append(figure)

    def median(self, contender: str) -> float:
        """Of its rounds."""
        return statistics.median(self.rounds[contender])


@dataclass(slots=True)
class Curve:
    """One figure of several things, each at several sizes.

    Attributes:
        title: what was done.
        unit: of the figures.
        size: what grows, as the axis has it.
        points: by name and size, the figures of the rounds.
        targets: what is asked of it.
    """

    title: str
    unit: str
    size: str
    points: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()

    def add(self, name: str, size: int, figure: float) -> None:
        """One round's figure at one size."""
        self.points.setdefault(name, {}).setdefault(size, []).append(figure)

    def line(self, name: str) -> list[tuple[int, float]]:
        """Its medians, from the smallest size to the largest."""
        return [(size, statistics.median(each)) for size, each in sorted(self.points[name].items())]


@dataclass(frozen=True, slots=True)
class Row:
    """A target, and whether it holds; `ratio` is None where a contender is absent."""

    table: str
    target: Target
    ratio: float | None

    @property
    def holds(self) -> bool | None:
        """None: it could not be measured."""
        if self.ratio is None:
            return None
        if self.target.at_least:
            return self.ratio >= self.target.limit
        return self.ratio <= self.target.limit


def quotient(table: Table, target: Target) -> Row:
    """What came of a target."""
    if target.ours not in table.rounds or (
        target.against is not None and target.against not in table.rounds
    ):
        return Row(table.title, target, None)
    ours = table.rounds[target.ours]
    if target.against is None:
        return Row(table.title, target, statistics.median(ours))
    # Round by round, since what disturbs the machine disturbs neighbours alike.
    return Row(
        table.title,
        target,
        statistics.median(
            mine / theirs for mine, theirs in zip(ours, table.rounds[target.against], strict=True)
        ),
    )


def growth(curve: Curve, target: Target) -> Row:
    """What came of a curve's target: k, where its steepest part grows as the size to the power k.

    The steepest, not the whole: what is dear only for many hides behind a large constant.
    """
    line = curve.line(target.ours) if target.ours in curve.points else []
    steepest = max(
        (
            log(more / less) / log(larger / smaller)
            for (smaller, less), (larger, more) in pairwise(line)
        ),
        default=None,
    )
    return Row(curve.title, target, steepest)
