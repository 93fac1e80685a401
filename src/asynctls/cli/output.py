"""What was asked for, on standard output: a table for a person, plain text or JSON for a program.

Only a terminal gets colours and folding; what a program reads is never cut.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from rich.console import RenderableType

__all__ = ["time_text", "write_drawn", "write_facts", "write_json", "write_table"]

_WIDE = 1000


def write_json(rows: Iterable[Mapping[str, object]]) -> None:
    """One object a line."""
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows under their headings; no rows, no output for a program."""
    if sys.stdout.isatty():
        # rich takes 50 ms to import: only a terminal pays for it.
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            # As Text: a name from a certificate is nobody's markup.
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    lines = [tuple(map(_in_one_line, row)) for row in rows]
    if lines:
        _write_columns([tuple(columns), *lines])


def write_drawn(*shown: RenderableType) -> None:
    """What `rich` draws, one below the other; where no terminal is, as wide as it likes."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    for each in shown:
        console.print(each)


def time_text(moment: datetime) -> str:
    """A UTC time as RFC 3339 has it, whole seconds, as certificates do."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def write_facts(facts: Mapping[str, str]) -> None:
    """One fact a line, its name before it."""
    _write_columns([(f"{name}:", _in_one_line(value)) for name, value in facts.items()])


def _write_columns(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _in_one_line(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]
