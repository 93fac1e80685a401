"""A curve as a picture: where its lines run, and where its axes have their marks.

Both axes count by powers of ten where the sizes do, so that a straight line at 45 degrees is linear
growth, and a level one no growth at all; else both begin at nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.bench.figures import Curve

__all__ = ["Drawn", "Line", "Mark", "Point", "drawn"]

_FAR = 20
_MARKS = 5


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark on an axis: how far along it, in per cent, and what it says."""

    at: float
    words: str


@dataclass(frozen=True, slots=True)
class Point:
    """Where a size's figure is, in per cent from the left and from the top, and what it is."""

    x: float
    y: float
    least: float
    most: float
    words: str


@dataclass(frozen=True, slots=True)
class Line:
    """A name's points, from left to right."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """All that the page needs.

    Attributes:
        logarithmic: how both axes count.
        lines: one for each name.
        across: the marks of the axis of sizes.
        up: those of the figures.
        guide: from where to where a line runs that grows as its size does; None: not drawn.
    """

    logarithmic: bool
    lines: tuple[Line, ...]
    across: tuple[Mark, ...]
    up: tuple[Mark, ...]
    guide: tuple[float, float, float, float] | None


def drawn(curve: Curve) -> Drawn:
    """The picture of a curve."""
    sizes = sorted({size for points in curve.points.values() for size in points})
    figures = [
        figure
        for points in curve.points.values()
        for rounds in points.values()
        for figure in rounds
    ]
    logarithmic = sizes[0] > 0 and sizes[-1] >= _FAR * sizes[0] and min(figures) > 0
    axis = _powers if logarithmic else _steps
    x, across = axis(sizes)
    y, up = axis(figures)
    lines = tuple(
        Line(
            name,
            tuple(
                Point(
                    x(size),
                    100 - y(median),
                    100 - y(min(curve.points[name][size])),
                    100 - y(max(curve.points[name][size])),
                    f"{name}, {size:,} {curve.size}: {median:,.4g} {curve.unit}",
                )
                for size, median in curve.line(name)
            ),
        )
        for name in curve.points
    )
    guide = _linear(len(across) - 1, len(up) - 1) if logarithmic else None
    return Drawn(logarithmic, lines, across, up, guide)


def _linear(wide: int, high: int) -> tuple[float, float, float, float]:
    """From the corner, as many powers of ten up as across."""
    return 0, 100, 100 * min(1, high / wide), 100 - 100 * min(1, wide / high)


def _powers(values: Iterable[float]) -> tuple[Callable[[float], float], tuple[Mark, ...]]:
    """From the power of ten below the least to the one above the most."""
    values = list(values)
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    high = max(high, low + 1)

    def along(value: float) -> float:
        return (log10(value) - low) / (high - low) * 100

    marks = (Mark(along(10**power), _words(10.0**power)) for power in range(low, high + 1))
    return along, tuple(marks)


def _steps(values: Iterable[float]) -> tuple[Callable[[float], float], tuple[Mark, ...]]:
    """From nothing to the round number above the most."""
    most = max(*values, 1e-9)
    size = 10.0 ** floor(log10(most))
    step = next(each * size for each in (0.2, 0.5, 1, 2) if each * size * _MARKS >= most)
    top = ceil(most / step) * step

    def along(value: float) -> float:
        return value / top * 100

    return along, tuple(
        Mark(along(n * step), _words(n * step)) for n in range(round(top / step) + 1)
    )


def _words(number: float) -> str:
    for size, sign in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{sign}"
    return f"{number:g}"
