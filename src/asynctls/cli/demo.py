"""``asynctls demo``: all three roles as processes on this machine, with a transcript."""

from __future__ import annotations

import click

from asynctls.cli.options import config_of, role_options
from asynctls.config import DemoConfig

__all__ = ["command"]


@click.command
@role_options(DemoConfig)
def command(**_given: object) -> None:
    """Runs a TTP, a server and a client on this machine, and tells what they do, step by step.

    The first run makes the TTP's CA, later ones find it again. Ctrl-C ends all of them.
    """
    from asynctls.demo import run as play
    from asynctls.runtime import run

    run(play(config_of(DemoConfig)))
