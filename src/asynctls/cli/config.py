"""``asynctls config``: is this file right?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from asynctls.cli.options import COMMON, role_options
from asynctls.config import (
    ClientConfig,
    IdentityConfig,
    ServerConfig,
    TTPConfig,
    check_file,
    load,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynctls.errors import Fault

__all__ = ["command"]

_WRONG = 2


@click.group
def command() -> None:
    """Check a config file."""


@command.command
@click.argument("file", type=click.Path(path_type=Path))
@role_options(IdentityConfig, only=COMMON)
def check(*, file: Path, **_given: object) -> int:
    """Prints every fault of FILE with its key, or nothing; exit 2 when there is one.

    The options that every verb takes change nothing here.
    """
    faults = check_file(file) or tuple(_names_and_secrets(file))
    for fault in faults:
        click.echo(str(fault))
    return _WRONG if faults else 0


def _names_and_secrets(file: Path) -> Iterator[Fault]:
    """What only the rooms above the config can judge; what is not set may come by an option."""
    from asynctls.enrolment import JoinString
    from asynctls.errors import ConfigError, Fault, JoinStringError
    from asynctls.ttp.ca import constraints_of
    from asynctls.ttp.policy import Policy
    from asynctls.ttp.public_address import own_names

    ttp = load(TTPConfig, path=file, overrides={}, environ={})
    server = load(ServerConfig, path=file, overrides={}, environ={})
    client = load(ClientConfig, path=file, overrides={}, environ={})
    identity = load(IdentityConfig, path=file, overrides={}, environ={})
    for judge in (own_names if ttp.name else None, Policy.of, constraints_of):
        try:
            if judge is not None:
                judge(ttp)
        except ConfigError as error:
            yield from (Fault(each.key, str(file), each.problem) for each in error.faults)
    yield from _allow_lists(server, file)
    for table, config in (("server", server), ("client", client), ("identity", identity)):
        if config.join is not None:
            try:
                JoinString.parse(config.join.reveal())
            except JoinStringError as error:
                yield Fault(f"{table}.join", str(file), str(error))


def _allow_lists(server: ServerConfig, file: Path) -> Iterator[Fault]:
    from asynctls.admission import allow_list
    from asynctls.errors import CertificateError, Fault

    lists = {"server": server.allow}
    for number, tunnel in enumerate(server.tunnel, 1):
        if tunnel.allow != server.allow:
            lists[f"server.tunnel[{number}]"] = tunnel.allow
    for place, texts in lists.items():
        try:
            allow_list(texts)
        except CertificateError as error:
            for line in str(error).splitlines():
                yield Fault(f"{place}.allow", str(file), line)
