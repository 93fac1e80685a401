"""The results of a run: as tables on the terminal, as JSON, as a page with bars."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape
from rich import box
from rich.table import Table as Printed

from tests.bench.figures import Curve, Row, Table, growth, quotient
from tests.bench.lines import drawn

__all__ = ["Results", "printed", "targets_printed", "write"]

_FOLDER = Path(__file__).parent


@dataclass(slots=True)
class Results:
    """All of a run."""

    made_at: str
    machine: dict[str, str]
    tables: list[Table] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    def take(self, measured: Table | Curve) -> None:
        """One more of either."""
        if isinstance(measured, Curve):
            self.curves.append(measured)
        else:
            self.tables.append(measured)

    @property
    def rows(self) -> list[Row]:
        """Every target of every table and curve."""
        return [
            *(quotient(table, target) for table in self.tables for target in table.targets),
            *(growth(curve, target) for curve in self.curves for target in curve.targets),
        ]


def printed(measured: Table | Curve) -> Printed:
    """It, as a table for the terminal."""
    return _table(measured) if isinstance(measured, Table) else _curve(measured)


def _curve(curve: Curve) -> Printed:
    """A column for each size."""
    shown = Printed(
        title=f"{curve.title} ({curve.unit})", title_justify="left", box=box.SIMPLE_HEAD
    )
    lines = {name: dict(curve.line(name)) for name in curve.points}
    sizes = sorted({size for line in lines.values() for size in line})
    shown.add_column(curve.size)
    for size in sizes:
        shown.add_column(f"{size:,}", justify="right")
    for name, line in lines.items():
        shown.add_row(name, *(f"{line[size]:,.4g}" if size in line else "" for size in sizes))
    return shown


def _table(table: Table) -> Printed:
    """The best first."""
    shown = Printed(
        title=f"{table.title} ({table.unit})", title_justify="left", box=box.SIMPLE_HEAD
    )
    shown.add_column("")
    for heading in ("median", "least", "most"):
        shown.add_column(heading, justify="right")
    for name in sorted(table.rounds, key=table.median, reverse=table.more_is_better):
        rounds = table.rounds[name]
        shown.add_row(
            name, *(f"{each:,.4g}" for each in (table.median(name), min(rounds), max(rounds)))
        )
    for name in table.absent:
        shown.add_row(name, "absent", "", "")
    return shown


def _short(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"


def targets_printed(results: Results) -> Printed:
    """Every target, and whether it holds."""
    shown = Printed(title="targets", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("what", "target", "measured", "holds"):
        shown.add_column(heading)
    for row in results.rows:
        shown.add_row(row.table, row.target.words, measured(row), verdict(row))
    return shown


def measured(row: Row) -> str:
    """The ratio, or the figure where the target is one."""
    if row.ratio is None:
        return "not here"
    return f"{row.ratio:,.0f}" if row.target.limit > 10 else f"{row.ratio:.2f}"


def verdict(row: Row) -> str:
    """Whether it holds, in a word."""
    return {True: "yes", False: "NO", None: "not measured"}[row.holds]


def write(results: Results, folder: Path) -> list[Path]:
    """JSON and page; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "made_at": results.made_at,
        "machine": results.machine,
        "tables": [asdict(table) for table in results.tables],
        "curves": [asdict(curve) for curve in results.curves],
        "targets": [
            {
                "what": row.table,
                "target": row.target.words,
                "ours": row.target.ours,
                "against": row.target.against,
                "limit": row.target.limit,
                "ratio": row.ratio,
                "holds": row.holds,
            }
            for row in results.rows
        ],
    }
    as_json, page = folder / "results.json", folder / "results.html"
    as_json.write_text(json.dumps(values, indent=1))
    page.write_text(_page(results))
    return [as_json, page]


@dataclass(frozen=True, slots=True)
class _Bar:
    name: str
    ours: bool
    least: float
    median: float
    most: float
    figure: str


def _bars(table: Table) -> list[_Bar]:
    widest = max(max(rounds) for rounds in table.rounds.values())
    return [
        _Bar(
            name,
            ours=name.startswith("asynctls") or name in ("sent", "received"),
            least=100 * min(rounds) / widest,
            median=100 * statistics.median(rounds) / widest,
            most=100 * max(rounds) / widest,
            figure=_short(statistics.median(rounds)),
        )
        for name, rounds in sorted(
            table.rounds.items(),
            key=lambda each: table.median(each[0]),
            reverse=table.more_is_better,
        )
    ]


def _page(results: Results) -> str:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=select_autoescape(default=True)
    )
    return environment.get_template("results.html.j2").render(
        results=results, bars=_bars, drawn=drawn, measured=measured, verdict=verdict
    )
