"""``asynctls ttp pending`` and ``approve``: what waits for a person, and the person's yes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from asynctls.cli.authority import TTP_COMMON, beside
from asynctls.cli.options import role_options
from asynctls.cli.output import time_text, write_json, write_table
from asynctls.config import TTPConfig

if TYPE_CHECKING:
    from asynctls.ttp.approvals import WaitingRequest

__all__ = ["approve", "pending"]


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@role_options(TTPConfig, only=TTP_COMMON)
def pending(*, as_json: bool, **_given: object) -> None:
    """Lists the requests that wait for approval, oldest first.

    KEY is the SHA-256 of the public key (SubjectPublicKeyInfo), which the client's log has too.
    """
    waiting = beside(lambda authority: authority.pending())
    if as_json:
        write_json(_facts(each) for each in waiting)
        return
    write_table(
        ["REQUEST", "NAME", "SANS", "ROLE", "KEY TYPE", "KEY", "FROM", "SINCE", "UNTIL"],
        [
            [
                str(each.number),
                each.name,
                ",".join(each.sans),
                each.profile,
                each.key_type,
                each.spki_sha256.hex(),
                each.address,
                time_text(each.at),
                time_text(each.expires_at),
            ]
            for each in waiting
        ],
    )


@click.command
@click.argument("number", metavar="REQUEST", type=int)
@role_options(TTPConfig, only=TTP_COMMON)
def approve(*, number: int, **_given: object) -> None:
    """Approves a request that waits; prints its name.

    The client gets its certificate when it asks again. To refuse one, revoke its name: that takes
    the token back.
    """
    click.echo(beside(lambda authority: authority.approve(number)).name)


def _facts(of: WaitingRequest) -> dict[str, object]:
    return {
        "request": of.number,
        "name": of.name,
        "sans": list(of.sans),
        "role": of.profile,
        "key_type": of.key_type,
        "spki_sha256": of.spki_sha256.hex(),
        "address": of.address,
        "token": of.token_id,
        "since": time_text(of.at),
        "until": time_text(of.expires_at),
    }
