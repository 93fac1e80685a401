"""The results of a run: as tables on the terminal, as JSON, as a table to quote, as a page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table as Printed

from tests.bench.figures import Curve, Row, Table, growth, quotient
from tests.bench.page import measured, page, verdict

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Results", "printed", "targets_printed", "write"]


@dataclass(slots=True)
class Results:
    """All of a run; `full`: figures that may be quoted."""

    made_at: str
    machine: dict[str, str]
    full: bool = False
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


def targets_printed(results: Results) -> Printed:
    """Every target, and whether it holds."""
    shown = Printed(title="targets", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("what", "target", "measured", "holds"):
        shown.add_column(heading)
    for row in results.rows:
        shown.add_row(row.table, row.target.words, measured(row), verdict(row))
    return shown


def write(results: Results, folder: Path) -> list[Path]:
    """JSON, a table in Markdown, and a page; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "made_at": results.made_at,
        "full": results.full,
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
    contents = {
        "results.json": json.dumps(values, indent=1),
        "results.md": quoted(results),
        "results.html": page(results),
    }
    for name, content in contents.items():
        (folder / name).write_text(content)
    return [folder / name for name in contents]


def quoted(results: Results) -> str:
    """Every target as a row of Markdown, with date and machine: for the README and the guide."""
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    kind = "a full run" if results.full else "a short run, not to be quoted"
    lines = [
        f"{results.made_at}, {kind}: {machine}.",
        "",
        "| what | who | against | target | measured | holds |",
        "|---|---|---|---|---|---|",
    ]
    for row in results.rows:
        ours, against = row.target.ours, row.target.against or ""
        cells = (row.table, ours, against, row.target.words, measured(row), verdict(row))
        lines.append(f"| {' | '.join(cells)} |")
    absent = sorted({name for table in results.tables for name in table.absent})
    if absent:
        lines += ["", f"Not here: {', '.join(absent)}."]
    return "\n".join(lines) + "\n"
