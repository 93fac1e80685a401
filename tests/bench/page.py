"""The results as a page: bars with their spread and their targets, and curves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from tests.bench.figures import Curve, growth, quotient
from tests.bench.lines import drawn

if TYPE_CHECKING:
    from tests.bench.figures import Row, Table
    from tests.bench.results import Results

__all__ = ["measured", "page", "verdict"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A contender's, all lengths in per cent of the widest; `targets` is where it should end."""

    name: str
    ours: bool
    least: float
    median: float
    most: float
    targets: tuple[float, ...]
    figure: str
    from_figure: str
    to_figure: str


def page(results: Results) -> str:
    """The whole of it, alone in its file."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("results.html.j2").render(
        results=results, bars=bars, drawn=drawn, rows=rows, measured=measured, verdict=verdict
    )


def measured(row: Row) -> str:
    """The ratio, or the figure where the target is one."""
    if row.ratio is None:
        return "not here"
    # Adding nothing makes -0.0 what people call nothing.
    return f"{row.ratio:,.0f}" if row.target.limit > 100 else f"{round(row.ratio, 2) + 0.0:.2f}"


def verdict(row: Row) -> str:
    """Whether it holds, in a word."""
    return {True: "yes", False: "NO", None: "not measured"}[row.holds]


def rows(of: Table | Curve) -> list[Row]:
    """Its targets."""
    if isinstance(of, Curve):
        return [growth(of, target) for target in of.targets]
    return [quotient(of, target) for target in of.targets]


def bars(table: Table) -> list[Bar]:
    """The best first."""
    wanted = {name: _wanted(table, name) for name in table.rounds}
    widest = max(
        *(max(rounds) for rounds in table.rounds.values()),
        *(at for targets in wanted.values() for at in targets),
        1e-9,
    )
    return [
        Bar(
            name,
            ours=name.startswith("asynctls") or name in ("sent", "received"),
            least=100 * min(rounds) / widest,
            median=100 * table.median(name) / widest,
            most=100 * max(rounds) / widest,
            targets=tuple(100 * at / widest for at in wanted[name]),
            figure=_short(table.median(name)),
            from_figure=_short(min(rounds)),
            to_figure=_short(max(rounds)),
        )
        for name, rounds in sorted(
            table.rounds.items(),
            key=lambda each: table.median(each[0]),
            reverse=table.more_is_better,
        )
    ]


def _wanted(table: Table, name: str) -> list[float]:
    return [
        target.limit * (1 if target.against is None else table.median(target.against))
        for target in table.targets
        if target.ours == name and (target.against is None or target.against in table.rounds)
    ]


def _short(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"
