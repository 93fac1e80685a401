"""``asynctls probe``: attacks on a live server, as a table or as JSON."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from itertools import count, groupby
from typing import TYPE_CHECKING

import click

from asynctls.cli.options import config_beside, config_of, role_options
from asynctls.cli.output import write_json, write_table
from asynctls.config import Address, LogFormat, ProbeConfig, TTPConfig

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
    folder = config.ttp_state
    # What opens its keys, and where its ledger is, are the TTP's own settings.
    ttp = None if folder is None else config_beside(TTPConfig, state=folder)
    with _progress(config.log_format) as told:
        findings = run(probe(address, config, ttp=ttp, told=told))
    if config.json:
        from msgspec import to_builtins

        write_json(map(to_builtins, findings))
    elif sys.stdout.isatty():
        _show(findings)
    else:
        write_table(
            ("ATTACK", "VERDICT", "ANSWER", "TRIED", "SOURCE"),
            [
                (each.attack, each.verdict.value, each.answer, each.tried, each.source)
                for each in findings
            ],
        )
    return _GOT_THROUGH if any(each.verdict is Verdict.NOT_WITHSTOOD for each in findings) else 0


@contextmanager
def _progress(log_format: LogFormat) -> Iterator[Callable[[Attack, Finding], None]]:
    """A line on standard error that says how far it is, where a person looks on."""
    if not sys.stderr.isatty():
        yield lambda _attack, _finding: None
        return
    from rich.console import Console

    from asynctls import logs
    from asynctls.probe.playbook import PLAYBOOK

    done = count(1)
    with Console(stderr=True).status("An honest connection first") as status:
        # What is logged meanwhile goes above the line, by what stands in for standard error now.
        logs.configure(log_format, stream=sys.stderr)

        def told(attack: Attack, finding: Finding) -> None:
            status.update(f"{next(done)} of {len(PLAYBOOK)}: {attack.name}, {finding.verdict}")

        yield told
    logs.configure(log_format)


def _show(findings: Sequence[Finding]) -> None:
    """A table for a person: by groups, what was tried and its source beside it, and the sum."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from asynctls.probe.attack import Verdict
    from asynctls.probe.playbook import PLAYBOOK

    styles = {
        Verdict.WITHSTOOD: "green",
        Verdict.NOT_WITHSTOOD: "bold red",
        Verdict.NOT_TRIED: "yellow",
    }
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Attack", ratio=1)
    table.add_column("What the server did", ratio=1)
    table.add_column("Verdict", no_wrap=True)
    of_attack = {finding.attack: finding for finding in findings}
    for group, attacks in groupby(PLAYBOOK, key=lambda attack: attack.group):
        table.add_row(Text(group.upper(), style="cyan"))
        for attack in attacks:
            found = of_attack[attack.name]
            table.add_row(
                Text.assemble((found.attack, "bold"), "\n", (found.tried, "dim")),
                # As Text: what a server answers is nobody's markup.
                Text.assemble(found.answer, "\n", (found.source, "dim")),
                Text(found.verdict, style=styles[found.verdict]),
            )
        table.add_section()
    console = Console()
    console.print(table)
    got_through = [each.attack for each in findings if each.verdict is Verdict.NOT_WITHSTOOD]
    if got_through:
        # A table of this length has scrolled by.
        console.print(f"NOT withstood: {'; '.join(got_through)}", style="bold red")
    counts = Counter(finding.verdict for finding in findings)
    console.print(", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict))
