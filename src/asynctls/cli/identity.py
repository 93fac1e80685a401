"""``asynctls identity``: who am I, until when, in which files; join, renew, keep for others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from asynctls.cli.options import COMMON, config_and_load, config_of, role_options
from asynctls.cli.output import time_text, write_facts, write_json
from asynctls.config import IdentityConfig, state_folder

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.enrolment import Identity

__all__ = ["command"]

_GIVE_UP_AFTER = timedelta(seconds=30)


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@role_options(IdentityConfig, only=COMMON)
@click.pass_context
def command(context: click.Context, /, *, as_json: bool, **_given: object) -> None:
    """Prints the identity in the state folder: the client's, or the server's if there is none.

    Its files are for other programs too: key.pem; cert.pem, the certificate and its issuer's;
    ca.pem, which CAs are trusted; crl.pem, what was revoked.
    """
    if context.invoked_subcommand is not None:
        return
    from asynctls.enrolment import Identity

    identity = Identity.load(_folder(config_of(IdentityConfig)))
    if as_json:
        write_json([_facts(identity)])
    else:
        write_facts(
            {name.replace("_", " "): _words(fact) for name, fact in _facts(identity).items()}
        )


@command.command
@role_options(IdentityConfig, only=(*COMMON, "join", "join_file", "key_type"))
def join(**_given: object) -> None:
    """Joins a TTP by a join string, and prints where the identity is.

    'asynctls ttp token' prints join strings. Give it by --join-file, or by the variable
    ASYNCTLS_JOIN. A valid identity that is there already is kept. Else the folder must be free:
    stop the daemon that works on it first.
    """
    from asynctls.enrolment import ensure_identity_alone
    from asynctls.pki.keys import KeyType
    from asynctls.runtime import run

    config = config_of(IdentityConfig)
    identity = run(
        ensure_identity_alone(
            _folder(config),
            join_string=config.join,
            join_file=config.join_file,
            key_type=KeyType(config.key_type),
            give_up_after=_GIVE_UP_AFTER,
        )
    )
    click.echo(f"{identity} in {identity.folder}")


@command.command
@role_options(IdentityConfig, only=COMMON)
def renew(**_given: object) -> None:
    """Renews the identity now, with a new key, and prints where it is.

    Roles renew by themselves, in time; so does 'asynctls identity keep'. What has expired or was
    revoked cannot be renewed: join again. The folder must be free of daemons.
    """
    from asynctls.enrolment.renewal import renew_now
    from asynctls.runtime import run

    config = config_of(IdentityConfig)
    identity = run(renew_now(_folder(config), give_up_after=_GIVE_UP_AFTER))
    click.echo(f"{identity} in {identity.folder}")


@command.command
@role_options(IdentityConfig)
def keep(**_given: object) -> None:
    """Stays, and renews the identity for other programs: nginx, PostgreSQL, any that loads PEM.

    It joins first where there is no identity. Whenever files in the folder have changed, and once
    at the start, it runs the command of --on-renew by the shell, again until that has worked.

    SIGTERM and SIGINT: stop. SIGHUP: take what is on disk, fetch the CRLs, run the command.
    """
    from asynctls.keeping import run as keep_identity
    from asynctls.runtime import run

    config, load = config_and_load(IdentityConfig)
    run(keep_identity(_folder(config), config, load))


def _folder(config: IdentityConfig) -> Path:
    """The one that is named, else the first role's that holds an identity, else the client's."""
    if config.state is not None:
        return config.state
    from asynctls.enrolment import Identity

    folders = [state_folder(role) for role in ("client", "server")]
    return next((folder for folder in folders if Identity.find(folder) is not None), folders[0])


def _facts(identity: Identity) -> dict[str, str | list[str]]:
    now = datetime.now(UTC)
    status = "valid"
    if identity.expired(now):
        status = "expired"
    elif now < identity.not_before:
        status = "not yet valid"
    return {
        "name": identity.name,
        "sans": list(identity.sans),
        "serial": identity.serial,
        "status": status,
        "not_before": time_text(identity.not_before),
        "not_after": time_text(identity.not_after),
        "renews_at": time_text(identity.renews_at),
        "key_type": identity.key_type.value,
        "fingerprint": identity.fingerprint,
        "pin": str(identity.pin),
        "ttp": str(identity.ttp),
        "state": str(identity.folder),
        "key": str(identity.key_file),
        "certificate": str(identity.certificate_file),
        "ca": str(identity.trust_file),
        "crl": str(identity.crl_file),
    }


def _words(fact: str | list[str]) -> str:
    return fact if isinstance(fact, str) else ", ".join(fact)
