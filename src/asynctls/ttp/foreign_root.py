"""An issuing CA of a root that is elsewhere: its request, and taking its certificate up.

Three ways lead here: a TTP whose own root's key was moved away, one under a root that somebody
else has, from its first start on, and one that goes on with an issuing CA that was made elsewhere.
What is brought in is tried before it is taken: a handshake in memory, with a certificate of the new
CA, by the very rules that roles verify with.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from asynctls import state
from asynctls.errors import CertificateError, StateError
from asynctls.logger import get_logger
from asynctls.pki.certificates import certificates_from_pem, check_issued_by, to_pem
from asynctls.pki.constraints import name_inside
from asynctls.pki.keys import KeyType, generate_now, key_from_pem, key_to_pem
from asynctls.pki.profiles import (
    Issuer,
    Profile,
    issue,
    key_id_text,
    make_issuing_request,
)
from asynctls.tls import server_context, try_out
from asynctls.ttp import ca, clock, own, succession
from asynctls.ttp.keyfiles import KeyFiles
from asynctls.ttp.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509

    from asynctls.config import TTPConfig
    from asynctls.pki.keys import PrivateKey
    from asynctls.ttp.ca import CertificateAuthority
    from asynctls.ttp.transactions import Transaction

__all__ = ["bring", "request"]

log = get_logger()

T = TypeVar("T")

_TRIAL = ".trying-"


async def request(config: TTPConfig) -> str:
    """A request (PKCS#10, PEM) for the next issuing CA; its key waits in the state folder.

    The same request again while no certificate was brought for it. It works before the first start
    as well: then the TTP will be one under somebody else's root.

    Raises:
        StateError: the state folder cannot be used; before the first start also because another
            process makes a request there.
    """

    def make() -> str:
        keys = KeyFiles.of(config)
        key = succession.next_key(keys, None, KeyType(config.issuing_key_type))
        return make_issuing_request(key, constraints=ca.constraints_of(config))

    def make_beside_others(transaction: Transaction) -> str:
        # A key that has its certificate already waits for nothing.
        _load(transaction, config)
        return make()

    # Two that make a request at once are not to make two keys, of which one would be lost.
    if await asyncio.to_thread(ca.exists, config.state):
        return await _in_ledger(config, make_beside_others)
    async with state.hold_state_folder(config.state):
        return await asyncio.to_thread(make)


async def bring(config: TTPConfig, file: Path, key_file: Path | None) -> x509.Certificate:
    """Takes up an issuing CA: the first of a new TTP, or the successor of the one there is.

    Args:
        config: the TTP's.
        file: its certificate, PEM; for a new TTP the root's as well, in any order.
        key_file: its private key, PEM; None: the one that `request` made.

    Returns:
        The certificate.

    Raises:
        StateError: a file cannot be read or written.
        CertificateError: it is not one that can be used; says why.
    """
    await asyncio.to_thread(state.make_private_folder, config.state)
    issuing = await _in_ledger(config, lambda tx: _take_up(tx, config, file, key_file))
    # In a transaction of its own: only now does nothing wait for that key any more.
    await _in_ledger(config, lambda tx: _load(tx, config))
    return issuing


async def _in_ledger(config: TTPConfig, operation: Callable[[Transaction], T]) -> T:
    existed = await asyncio.to_thread(ca.exists, config.state)
    ledger = await Ledger.open(config.state, database=config.ledger, must_exist=existed)
    async with ledger:
        return await ledger.write(operation)


def _load(transaction: Transaction, config: TTPConfig) -> CertificateAuthority:
    keys = KeyFiles.of(config)
    authority = ca.load(transaction.connection, keys, now=clock.now(), status_url=config.status_url)
    succession.forget_next(keys, authority)
    return authority


def _take_up(
    transaction: Transaction, config: TTPConfig, file: Path, key_file: Path | None
) -> x509.Certificate:
    keys, now = KeyFiles.of(config), clock.now()
    brought = _certificates(file)
    authority = _load(transaction, config) if ca.exists(config.state) else None
    for _, taken in () if authority is None else authority.taken_up:
        if taken.certificate in brought:
            # Whoever brought it was told nothing, as when the connection to the ledger broke.
            log.info("issuing CA was brought in before", ca=key_id_text(taken.certificate))
            return taken.certificate
    key = _key(keys, key_file)
    issuing = next((each for each in brought if each.public_key() == key.public_key()), None)
    if issuing is None:
        whose = str(key_file or keys.path(succession.NEXT))
        raise CertificateError(f"{file} has no certificate for the key in {whose}")
    issuer = Issuer(issuing, key)
    if authority is not None:
        _judge(issuing, authority.root, authority.taken_up, now)
        _try_out(issuer, authority.root, keys, now)
        shared = config.ledger is not None
        succession.take_up(transaction, issuing, key, keys, is_shared=shared, now=now)
    else:
        root = _root_in(brought, issuing, file)
        _judge(issuing, root, (), now)
        _try_out(issuer, root, keys, now)
        keys.write(ca.ISSUING, key)
        state.write_atomically(config.state / "root.pem", to_pem(root).encode())
        state.write_atomically(config.state / "issuing.pem", to_pem(issuing).encode())
        root_id = key_id_text(root)
        own.record(transaction, root, ca.ROOT, Profile.ROOT, issuer=root_id, now=now)
        own.record(transaction, issuing, ca.ISSUING, Profile.ISSUING, issuer=root_id, now=now)
    log.info(
        "issuing CA brought in",
        ca=key_id_text(issuing),
        ends=issuing.not_valid_after_utc.isoformat(),
    )
    return issuing


def _certificates(file: Path) -> tuple[x509.Certificate, ...]:
    try:
        return certificates_from_pem(file.read_bytes())
    except OSError as error:
        raise StateError(f"{file} cannot be read: {error.strerror}") from error
    except CertificateError as error:
        raise CertificateError(f"{file} cannot be used: {error}") from error


def _key(keys: KeyFiles, key_file: Path | None) -> PrivateKey:
    if key_file is None:
        key = keys.read(succession.NEXT)
        if key is None:
            raise StateError(
                f"no request was made here ({keys.path(succession.NEXT)} is missing): begin with "
                "'asynctls ttp issuing --csr', or give the CA's own key by --key FILE"
            )
        return key
    try:
        return key_from_pem(state.read_private(key_file), passphrase=keys.passphrase)
    except FileNotFoundError:
        raise StateError(f"{key_file} cannot be read: there is no such file") from None
    except CertificateError as error:
        raise CertificateError(f"{key_file} cannot be used: {error}") from error


def _root_in(
    brought: tuple[x509.Certificate, ...], issuing: x509.Certificate, file: Path
) -> x509.Certificate:
    for each in brought:
        if each.subject == issuing.issuer and each != issuing:
            try:
                check_issued_by(each, each)
            except CertificateError as error:
                raise CertificateError(
                    f"{each.subject.rfc4514_string()!r}, which signed the issuing CA, is no root "
                    f"({error}): roles pin a root that signed the issuing CA itself"
                ) from error
            return each
    raise CertificateError(
        f"{file} does not have the root's certificate, {issuing.issuer.rfc4514_string()!r}: it is "
        "what roles will pin, so add it to the file"
    )


def _judge(
    issuing: x509.Certificate,
    root: x509.Certificate,
    taken_up: tuple[tuple[datetime, Issuer], ...],
    now: datetime,
) -> None:
    check_issued_by(issuing, root)
    key_id = key_id_text(issuing)
    for _, other in taken_up:
        if key_id_text(other.certificate) == key_id:
            raise CertificateError(
                "the issuing CA's key is in use already: a successor has a key of its own"
            )
        if other.certificate.subject == issuing.subject:
            raise CertificateError(
                f"there is an issuing CA called {issuing.subject.rfc4514_string()!r} already: "
                "programs look for issuers and CRLs by name, so a successor has another one"
            )
    if not issuing.not_valid_before_utc <= now < issuing.not_valid_after_utc:
        raise CertificateError(
            f"the issuing CA's certificate is valid from {issuing.not_valid_before_utc} to "
            f"{issuing.not_valid_after_utc}, and it is {now}"
        )


def _try_out(issuer: Issuer, root: x509.Certificate, keys: KeyFiles, now: datetime) -> None:
    """A handshake with a certificate of this CA, which is thrown away after it."""
    try:
        name = name_inside(issuer.certificate)
    except CertificateError as error:
        raise CertificateError(f"the issuing CA cannot be used: {error}") from error
    key = generate_now(KeyType.ECDSA_P256)
    certificate = issue(
        Profile.TTP,
        issuer=issuer,
        public_key=key.public_key(),
        sans=(name,),
        lifetime=timedelta(hours=1),
        now=now,
    )
    # In the writer's turn, so that what is there is of one who was killed.
    for left in keys.folder.glob(f"{_TRIAL}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=keys.folder, prefix=_TRIAL) as folder:
        chain, key_file = Path(folder) / "cert.pem", Path(folder) / "cert.key"
        state.write_atomically(chain, to_pem(certificate, issuer.certificate).encode())
        state.write_atomically(key_file, key_to_pem(key))
        context = server_context(chain=chain, key=key_file, trust=to_pem(root, issuer.certificate))
        try:
            try_out(context)
        except CertificateError as error:
            raise CertificateError(
                f"the issuing CA cannot be used: roles would refuse what it issues ({error})"
            ) from error
