"""``asynctls server``: the daemon that serves an app to each client that is let in."""

from __future__ import annotations

import click

from asynctls.cli.options import config_and_load, role_options
from asynctls.config import ServerConfig

__all__ = ["command"]


@click.command
@role_options(ServerConfig)
def command(**_given: object) -> int:
    """Serves each client by --app: a message, an echo, a tunnel's end, or an app of your own.

    The first start needs a join string (--join-file, or the variable ASYNCTLS_JOIN), which
    'asynctls ttp token server' prints; later ones find the identity in the state folder. Only
    clients whose name or key --allow has are let in.

    SIGTERM and SIGINT: let what is under way end, and stop; twice: stop at once. SIGHUP: reload.
    """
    import os

    from asynctls.runtime import run
    from asynctls.runtime.orders import appointment

    appointed = appointment(os.environ)
    if appointed is not None:
        from asynctls.server.worker import work

        run(work(appointed))
        return 0
    from asynctls.server.service import run as serve

    config, load = config_and_load(ServerConfig)
    return run(serve(config, load))
