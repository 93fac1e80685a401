"""The curves of a soak: a page of its own, with nothing that lies elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from tests.soak.samples import MEASURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.soak.samples import Measure, Sample

__all__ = ["drawn"]

WIDTH, HEIGHT = 640, 200
# Of what is counted between two looks that are closer, chance says most.
RATE_OVER_S = 0.9
LEFT, RIGHT, TOP, BOTTOM = 56, 70, 12, 22


@dataclass(frozen=True)
class Line:
    """One process: its points as SVG has them, and where its name stands."""

    role: str
    points: str
    name_y: float
    last: str


@dataclass(frozen=True)
class Chart:
    title: str
    lines: list[Line]
    ticks: list[tuple[float, str]]


def drawn(
    samples: Sequence[Sample], *, title: str, figures: Mapping[str, object], pauses: Iterable[float]
) -> str:
    """The page.

    Args:
        samples: in the order of their moments.
        title: for people.
        figures: what is to be read above the curves.
        pauses: the moments, in seconds, at which nothing was done and all was to be as before.
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    template = jinja2.Environment(loader=loader, autoescape=True).get_template("curves.html.j2")
    end_s = samples[-1].at_s
    return template.render(
        title=title,
        figures=figures,
        charts=[chart for each in MEASURES if (chart := _chart(samples, each)).lines],
        pauses=[_x(at_s, end_s) for at_s in pauses],
        times=[(_x(end_s * i / 4, end_s), f"{end_s * i / 4:.0f} s") for i in range(5)],
        size=(WIDTH, HEIGHT),
        frame=(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM),
    )


def _chart(samples: Sequence[Sample], measure: Measure) -> Chart:
    curves = {
        role: _curve(samples, role, measure)
        for role in samples[-1].values
        if measure in samples[-1].values[role]
    }
    curves = {role: curve for role, curve in curves.items() if curve}
    most = max((value for curve in curves.values() for _, value in curve), default=0.0) or 1.0
    end_s = samples[-1].at_s
    lines: list[Line] = []
    lowest = float(HEIGHT)
    for role, curve in sorted(curves.items(), key=lambda each: each[1][-1][1]):
        points = " ".join(f"{_x(at, end_s):.1f},{_y(value, most):.1f}" for at, value in curve)
        # From the bottom up, each name clear of the one below it.
        lowest = min(_y(curve[-1][1], most) + 4, lowest - 12)
        lines.append(Line(role, points, lowest, _figure(curve[-1][1])))
    ticks = [(_y(most * i / 2, most), _figure(most * i / 2)) for i in range(3)]
    return Chart(measure.title, lines, ticks)


def _curve(samples: Sequence[Sample], role: str, measure: Measure) -> list[tuple[float, float]]:
    known = [(each.at_s, each.of(measure)[role]) for each in samples if role in each.of(measure)]
    if not measure.rate:
        return known
    apart = known[:1]
    for each in known:
        if each[0] - apart[-1][0] >= RATE_OVER_S:
            apart.append(each)
    return [
        (after, (more - less) / (after - before))
        for (before, less), (after, more) in pairwise(apart)
    ]


def _x(at_s: float, end_s: float) -> float:
    return LEFT + (WIDTH - RIGHT - LEFT) * at_s / end_s


def _y(value: float, most: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / most


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
