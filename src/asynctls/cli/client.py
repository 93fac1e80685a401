"""``asynctls client``: connects, receives, verifies, prints, exits; or stays."""

from __future__ import annotations

import sys

import click

from asynctls.cli.options import config_and_load, role_options
from asynctls.config import ClientConfig

__all__ = ["command"]


@click.command
@role_options(ClientConfig)
def command(**_given: object) -> None:
    """Connects to a server, and prints each message that it receives and verifies.

    The first start needs a join string (--join-file, or the variable ASYNCTLS_JOIN), which
    'asynctls ttp token client' prints; later ones find the identity in the state folder.

    Each message goes to standard output, everything else to standard error.

    With --explain it tells each step there as it happens, the attack that it stops, and the RFC.

    With --follow it stays, and connects again whenever a session has ended; with --listen it stays
    as a tunnel's end. SIGTERM and SIGINT: let what is under way end, and stop; twice: stop at once.
    SIGHUP: reload.
    """
    from asynctls import logs
    from asynctls.client.service import run as receive
    from asynctls.runtime import run

    config, load = config_and_load(ClientConfig)
    if config.explain:
        # rich takes 50 ms to import, for which nobody else should wait.
        from asynctls.client.explaining import Explainer

        logs.configure(config.log_format, tell=Explainer(sys.stderr))
    run(receive(config, load))
