"""``asynctls costs``: what a secure message costs, on the wire and in the processor."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asynctls.cli.options import config_of, role_options
from asynctls.cli.output import write_drawn
from asynctls.config import CostsConfig
from asynctls.errors import ConfigError, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asynctls.costs.report import Report

__all__ = ["command"]


@click.command
@role_options(CostsConfig)
def command(**_given: object) -> None:
    """Runs a TTP, a server and a client, and reports what each message and operation costs.

    The bytes are those that were really sent, message by message, for RSA and ECDSA, full and
    resumed handshakes, one message and a thousand; the operations are timed on this machine. With
    --connect, the account is of a connection to that server, by the identity in --state.
    """
    from asynctls import logs
    from asynctls.costs.asked import asked
    from asynctls.costs.export import to_json
    from asynctls.runtime import run

    config = config_of(CostsConfig)
    html = None if config.html is None else _place_for_a_page(config.html)
    # What three roles log of an everyday run is not what was asked for.
    logs.configure(config.log_format, level="warning")
    with _progress() as tell:
        report = run(asked(config, tell=tell))
    try:
        if html is not None:
            _write_page(report, html)
    finally:
        # The figures took their time: a disk that is full by now does not take them as well.
        if config.json:
            click.echo(to_json(report))
        else:
            _print(report)


def _place_for_a_page(path: Path) -> Path:
    """Where a link leads to: the file is replaced, and the link stays.

    What can be known before anything is run, which takes a while, is a fault of the setting.

    Raises:
        ConfigError: no file can be written there.
    """
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        problem = f"there is no folder {path.parent}"
    elif path.exists() and not path.is_file():
        problem = "that is there already, and is no file"
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        problem = f"the folder {path.parent} cannot be written"
    else:
        return path
    raise ConfigError(Fault("costs.html", "--html", f"{path}: {problem}"))


def _write_page(report: Report, path: Path) -> None:
    from asynctls.costs.page import page
    from asynctls.state import write_atomically

    # It is made to be shown, and there is no secret in it.
    write_atomically(path, page(report).encode(), mode=0o644)


def _print(report: Report) -> None:
    from asynctls.costs.ladder import ladder, story
    from asynctls.costs.tables import tables

    write_drawn(ladder(*story(report)), tables(report))


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Tells a terminal what is being done; nobody else."""
    if not sys.stderr.isatty():
        yield lambda _words: None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield status.update
