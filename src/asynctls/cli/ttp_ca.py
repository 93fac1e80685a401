"""``asynctls ttp root`` and ``asynctls ttp issuing``: the CAs, and moving them about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from asynctls.cli.authority import TTP_COMMON, beside
from asynctls.cli.options import config_of, role_options
from asynctls.config import TTPConfig

if TYPE_CHECKING:
    from asynctls.ttp.authority import Authority

__all__ = ["issuing", "root"]

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command
@click.option("--fingerprint", "what", flag_value="fingerprint", help="Its SHA-256 instead.")
@click.option("--crl", "what", flag_value="crl", help="Sign and print the root's CRL instead, PEM.")
@click.option(
    "--export-key",
    "export_to",
    type=_FILE,
    metavar="FILE",
    help="Move the root's private key into FILE, away from here; a daemon goes on without it.",
)
@click.option(
    "--import-crl",
    "crl_file",
    type=_FILE,
    metavar="FILE",
    help="Take up a CRL that the root signed elsewhere, PEM or DER.",
)
@role_options(TTPConfig, only=TTP_COMMON)
def root(
    *, what: str | None, export_to: Path | None, crl_file: Path | None, **_given: object
) -> None:
    """Prints the root certificate, PEM."""
    if len([each for each in (what, export_to, crl_file) if each is not None]) > 1:
        raise click.UsageError("give one of --fingerprint, --crl, --export-key and --import-crl")
    if export_to is not None:
        file = export_to
        beside(lambda authority: authority.export_root_key(file))
        click.echo(f"The root's key is in {file} now, and no longer here.", err=True)
    elif crl_file is not None:
        content = _read(crl_file)
        crl = beside(lambda authority: authority.import_root_crl(content))
        click.echo(f"{crl} is served until {crl.next_update:%Y-%m-%d %H:%M:%S} UTC.", err=True)
    else:
        click.echo(beside(_ROOT[what]), nl=what == "fingerprint")


@click.command
@click.option("--csr", "is_request", is_flag=True, help="Print a request for the next one, PEM.")
@click.option(
    "--import",
    "certificate_file",
    type=_FILE,
    metavar="FILE",
    help="Take up one whose certificate is in FILE, PEM; the root's too, before the first start.",
)
@click.option(
    "--key",
    "key_file",
    type=_FILE,
    metavar="FILE",
    help="With --import: its private key, PEM, if it is not the request's.",
)
@role_options(TTPConfig, only=(*TTP_COMMON, "issuing_key_type", "name_constraints"))
def issuing(
    *,
    is_request: bool,
    certificate_file: Path | None,
    key_file: Path | None,
    **_given: object,
) -> None:
    """Prints the issuing CAs' certificates, PEM: first the one that issues now.

    A root that is elsewhere signs what --csr prints; --import brings it in.
    """
    if is_request and certificate_file is not None:
        raise click.UsageError("give one of --csr and --import")
    if key_file is not None and certificate_file is None:
        raise click.UsageError("--key goes with --import")
    from asynctls.pki.certificates import to_pem
    from asynctls.runtime import run
    from asynctls.ttp import foreign_root

    if is_request:
        click.echo(run(foreign_root.request(config_of(TTPConfig))), nl=False)
    elif certificate_file is not None:
        brought = foreign_root.bring(config_of(TTPConfig), certificate_file, key_file)
        click.echo(to_pem(run(brought)), nl=False)
    else:
        click.echo(beside(_issuing_pem), nl=False)


def _read(file: Path) -> bytes:
    from asynctls.errors import StateError

    try:
        return file.read_bytes()
    except OSError as error:
        raise StateError(f"{file} cannot be read: {error.strerror}") from error


async def _issuing_pem(authority: Authority) -> str:
    from asynctls.pki.certificates import to_pem

    return to_pem(*authority.ca_certificates[:-1])


async def _root_pem(authority: Authority) -> str:
    from asynctls.pki.certificates import to_pem

    return to_pem(authority.root)


async def _root_fingerprint(authority: Authority) -> str:
    return authority.root_sha256.hex()


async def _root_crl(authority: Authority) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    crl = x509.load_der_x509_crl(await authority.sign_root_crl())
    return crl.public_bytes(Encoding.PEM).decode()


_ROOT = {None: _root_pem, "fingerprint": _root_fingerprint, "crl": _root_crl}
