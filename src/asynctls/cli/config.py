"""``asynctls config``: is this file right?"""

from __future__ import annotations

from pathlib import Path

import click

from asynctls.config import check_file

__all__ = ["command"]

_WRONG = 2


@click.group
def command() -> None:
    """Check a config file."""


@command.command
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> int:
    """Prints every fault of FILE with its key, or nothing; exit 2 when there is one."""
    faults = check_file(file)
    for fault in faults:
        click.echo(str(fault))
    return _WRONG if faults else 0
