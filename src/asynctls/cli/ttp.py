"""``asynctls ttp``: the CA daemon, and the verbs that administer it, beside it or without it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, get_args

import click

from asynctls.cli.authority import TTP_COMMON, beside
from asynctls.cli.options import DURATION, config_and_load, config_of, role_options
from asynctls.cli.output import time_text, write_facts, write_json, write_table
from asynctls.cli.ttp_approvals import approve as approve_request
from asynctls.cli.ttp_approvals import pending
from asynctls.cli.ttp_backup import backup, restore
from asynctls.cli.ttp_ca import issuing, root
from asynctls.config import KeyTypeName, TTPConfig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asynctls.mac import Secret
    from asynctls.ttp.authority import Authority
    from asynctls.ttp.chain import Head
    from asynctls.ttp.details import CertificateDetails
    from asynctls.ttp.lists import CertificateStatus, ListedCertificate

__all__ = ["command"]

_ROLES = ("server", "client", "peer")
_KEY_TYPES = get_args(KeyTypeName)
_TTL = timedelta(minutes=10)
# A person has to come and look in between.
_TTL_WITH_APPROVAL = timedelta(hours=24)


@click.group(invoke_without_command=True)
@role_options(TTPConfig)
@click.pass_context
def command(context: click.Context, /, **_given: object) -> None:
    """Without a verb: the CA daemon. Its first start makes the root and the issuing CA.

    SIGTERM and SIGINT: let what is under way end, and stop; twice: stop at once. SIGHUP: reload.
    """
    if context.invoked_subcommand is not None:
        return
    from asynctls.runtime import run
    from asynctls.ttp.service import run as serve

    config, load = config_and_load(TTPConfig)
    run(serve(config, load))


command.add_command(backup)
command.add_command(restore)


@command.command
@click.argument("holder", metavar="NAME")
@click.option(
    "--san", "sans", multiple=True, metavar="SAN", help="A further name; may be given again."
)
@click.option(
    "--role",
    type=click.Choice(_ROLES),
    help="What the holder may be; must be given unless NAME is server or client.",
)
@click.option(
    "--ttl",
    type=DURATION,
    help="For how long it can be used.  [default: 10m; with --approve 24h]",
)
@click.option(
    "--lifetime",
    type=DURATION,
    default="24h",
    show_default=True,
    help="Of the certificates that it leads to.",
)
@click.option(
    "--allow-name",
    # Not 'allow_names', which is a setting of the daemon's.
    "further_names",
    multiple=True,
    metavar="RULE",
    help="Further names that a request may ask for: *.one.label, .suffix, 10.0.0.0/8, "
    "spiffe://td/*; may be given again.",
)
@click.option(
    "--key-type",
    "key_types",
    multiple=True,
    type=click.Choice(_KEY_TYPES),
    help="The only kind of key that it is for, with its least size; may be given again.",
)
@click.option(
    "--uses",
    type=click.IntRange(1, 100_000),
    default=1,
    show_default=True,
    help="For how many keys: each gets one certificate.",
)
@click.option("--approve", is_flag=True, help="A person must approve each request (ttp approve).")
@role_options(TTPConfig, only=(*TTP_COMMON, "listen", "name", "public"))
def token(
    *,
    holder: str,
    sans: tuple[str, ...],
    role: str | None,
    ttl: timedelta | None,
    lifetime: timedelta,
    further_names: tuple[str, ...],
    key_types: tuple[str, ...],
    uses: int,
    approve: bool,
    **_given: object,
) -> None:
    """Makes a token, for one use without --uses, and prints its join string alone: a secret.

    NAME and each --san are what the certificate will be for: DNS names, URIs or IP addresses.
    --listen and --name say where the TTP will be when it was never started yet.
    """
    granted = role or (holder if holder in ("server", "client") else None)
    if granted is None:
        raise click.UsageError(f"--role must be given for {holder!r}: {', '.join(_ROLES)}")
    from asynctls.pki.keys import KeyType
    from asynctls.pki.profiles import Profile
    from asynctls.runtime import run

    def make(authority: Authority) -> Awaitable[tuple[str, Secret]]:
        return authority.create_token(
            holder,
            sans=sans,
            profile=Profile(granted),
            ttl=ttl or (_TTL_WITH_APPROVAL if approve else _TTL),
            lifetime=lifetime,
            allow_names=further_names,
            key_types=tuple(map(KeyType, key_types)),
            uses=uses,
            approve=approve,
        )

    click.echo(run(_join_string(config_of(TTPConfig), holder, make)))


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--status", type=click.Choice(["valid", "expired", "revoked"]), help="Only these.")
@role_options(TTPConfig, only=TTP_COMMON)
def list_certificates(*, as_json: bool, status: CertificateStatus | None, **_given: object) -> None:
    """Lists the certificates that were issued, oldest first."""
    if as_json:

        async def write_each(authority: Authority) -> None:
            async for each in authority.each_certificate(status):
                write_json([_row(each)])

        beside(write_each)
        return
    certificates = beside(lambda authority: authority.list_certificates(status))
    write_table(
        ["SERIAL", "NAME", "SANS", "NOT BEFORE", "NOT AFTER", "STATUS"],
        [
            [",".join(cell) if isinstance(cell, list) else cell for cell in _row(each).values()]
            for each in certificates
        ],
    )


@command.command
@click.argument("which", metavar="SERIAL-or-NAME")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@role_options(TTPConfig, only=TTP_COMMON)
def show(*, which: str, as_json: bool, **_given: object) -> None:
    """Shows all that is recorded of one certificate, or of each of a name, oldest first.

    The TTP's own certificates are found by their serial numbers.
    """
    found = beside(lambda authority: authority.show(which))
    if as_json:
        write_json(_facts(each) for each in found)
        return
    for number, each in enumerate(found):
        if number:
            click.echo()
        facts = {name: fact for name, fact in _facts(each).items() if fact and name != "pem"}
        write_facts({name.replace("_", " "): _words(fact) for name, fact in facts.items()})
        click.echo(each.pem, nl=False)


@command.command
@click.argument("which", metavar="SERIAL-or-NAME")
@click.option(
    "--reason",
    default="unspecified",
    show_default=True,
    help="As RFC 5280 names it: keyCompromise, superseded, cessationOfOperation …",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@role_options(TTPConfig, only=TTP_COMMON)
def revoke(*, which: str, reason: str, as_json: bool, **_given: object) -> None:
    """Revokes one certificate, or all of a name; prints each serial.

    A name means every valid certificate with exactly that name, and its unused tokens.
    """

    async def take_back(authority: Authority) -> list[CertificateDetails]:
        serials = await authority.revoke(which, reason=reason)
        return [each for serial in serials for each in await authority.show(serial)]

    if as_json:
        write_json(_revocation(each) for each in beside(take_back))
        return
    for serial in beside(lambda authority: authority.revoke(which, reason=reason)):
        click.echo(serial)


@command.command
@click.option("--head", metavar="SEQ:MAC", help="A link that must still be in the ledger.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@role_options(TTPConfig, only=TTP_COMMON)
def verify(*, head: str | None, as_json: bool, **_given: object) -> None:
    """Checks the ledger's HMAC chain and prints its head; exit 1 if it was altered.

    That rows were cut off its end shows only against a --head that was kept elsewhere.
    """
    wanted = _head(head)
    found = beside(lambda authority: authority.verify(head=wanted))
    if as_json:
        write_json([{"head": str(found), "sequence": found.sequence, "mac": found.mac.hex()}])
        return
    click.echo(str(found))
    click.echo(f"The chain of {found.sequence} rows is unbroken.", err=True)


command.add_command(root)
command.add_command(issuing)
command.add_command(pending)
command.add_command(approve_request)


async def _join_string(
    config: TTPConfig,
    holder: str,
    make: Callable[[Authority], Awaitable[tuple[str, Secret]]],
) -> str:
    """A new token's; before the TTP's first start this makes its CA, whose fingerprint is in it."""
    import asyncio

    from asynctls.enrolment import JoinString
    from asynctls.ttp import ca
    from asynctls.ttp.authority import Authority
    from asynctls.ttp.public_address import token_address

    address = await asyncio.to_thread(token_address, config)
    enter = Authority.beside if await asyncio.to_thread(ca.exists, config.state) else Authority.open
    async with await enter(config) as authority:
        token_id, secret = await make(authority)
        return JoinString(token_id, secret, address, holder, authority.root_sha256).format()


def _head(text: str | None) -> Head | None:
    if text is None:
        return None
    from asynctls.ttp.chain import Head

    try:
        return Head.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--head") from None


def _row(certificate: ListedCertificate) -> dict[str, str | list[str]]:
    return {
        "serial": certificate.serial,
        "name": certificate.name,
        "sans": list(certificate.sans),
        "not_before": time_text(certificate.not_before),
        "not_after": time_text(certificate.not_after),
        "status": certificate.status,
    }


def _facts(of: CertificateDetails) -> dict[str, str | int | list[str] | None]:
    return {
        "serial": of.serial,
        "name": of.name,
        "sans": list(of.sans),
        "profile": of.profile,
        "status": of.status,
        "not_before": time_text(of.not_before),
        "not_after": time_text(of.not_after),
        "revoked_at": None if of.revoked_at is None else time_text(of.revoked_at),
        "reason": of.reason,
        "issuer": of.issuer,
        "key_type": of.key_type,
        "fingerprint": of.fingerprint,
        "pin": of.pin,
        "issued_at": time_text(of.issued_at),
        "asked_from": of.asked_from,
        "token": of.token_id,
        "renews": of.renews,
        "renewed_by": list(of.renewed_by),
        "sequence": of.sequence,
        "pem": of.pem,
    }


def _words(fact: str | int | list[str] | None) -> str:
    return ", ".join(fact) if isinstance(fact, list) else str(fact)


def _revocation(of: CertificateDetails) -> dict[str, str | None]:
    return {
        "serial": of.serial,
        "name": of.name,
        "revoked_at": None if of.revoked_at is None else time_text(of.revoked_at),
        "reason": of.reason,
    }
