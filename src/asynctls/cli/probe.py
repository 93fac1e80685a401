"""``asynctls probe``: attacks on a live server, as a table or as JSON."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from asynctls.cli.options import config_of, role_options
from asynctls.cli.output import write_json, write_table
from asynctls.config import Address, ProbeConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from asynctls.probe.attack import Attack, Finding

__all__ = ["command"]

_GOT_THROUGH = 1


def _address(_context: click.Context, _parameter: click.Parameter, text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command
@click.argument("address", metavar="HOST:PORT", callback=_address)
@role_options(ProbeConfig)
def command(address: Address, **_given: object) -> int:
    """Tries attacks on the server at HOST:PORT, and says of each whether it withstood.

    It must be your own, or one whose owner has agreed: some of this looks like an attack since it
    is one. The identity of --state must be one that the server lets in.

    Each finding is 'withstood', 'NOT withstood', or 'not tried' with what it would take:
    --ttp-state for certificates that only the CA can make, --exhaust for what loads the server.
    The command fails if an attack got through.
    """
    from asynctls.probe.attack import Verdict
    from asynctls.probe.run import probe
    from asynctls.runtime import run

    config = config_of(ProbeConfig)
    with _progress() as told:
        findings = run(probe(address, config, told=told))
    if config.json:
        from msgspec import to_builtins

        write_json(map(to_builtins, findings))
    else:
        _write(findings)
    return _GOT_THROUGH if any(each.verdict is Verdict.NOT_WITHSTOOD for each in findings) else 0


@contextmanager
def _progress() -> Iterator[Callable[[Attack, Finding], None]]:
    """A line on standard error that says how far it is, where a person looks on."""
    if not sys.stderr.isatty():
        yield lambda _attack, _finding: None
        return
    from rich.console import Console

    from asynctls.probe.playbook import PLAYBOOK

    done = 0
    with Console(stderr=True).status("an honest connection first") as status:

        def told(attack: Attack, finding: Finding) -> None:
            nonlocal done
            done += 1
            status.update(f"{done} of {len(PLAYBOOK)}: {attack.name}: {finding.verdict}")

        yield told


def _write(findings: Sequence[Finding]) -> None:
    write_table(
        ("ATTACK", "VERDICT", "ANSWER", "TRIED", "SOURCE"),
        [
            (each.attack, each.verdict.value, each.answer, each.tried, each.source)
            for each in findings
        ],
    )
