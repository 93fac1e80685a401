"""The issuing CA's successor: made before its end, published first, issuing later.

At two thirds of the newest issuing CA's lifetime the root signs the next one, with a key of its
own. ``/cacerts`` hands out both from then on, and after a while (:data:`~asynctls.ttp.ca.
PUBLISHED_FIRST`, or half way to the old one's end) the new one issues. The old one goes on signing
its CRL until it ends, so nobody is cut off and all that it issued can still be revoked.

Everything here is an operation of the ledger's writer. Its files are written inside the
transaction, the row that makes them count comes with the commit: what a crash leaves behind is
taken up by the next try, since the new key lies in ``issuing-next.key`` until then. Several TTPs
share a ledger, not a folder: there the row carries the new key, sealed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls import state
from asynctls.errors import CertificateError, StateError
from asynctls.logger import get_logger
from asynctls.pki.certificates import certificate_from_der, check_issued_by, to_pem
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.profiles import Issuer, Profile, key_id_text, make_issuing
from asynctls.ttp import ca, own, records, sealing

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

    from asynctls.config import TTPConfig
    from asynctls.pki.keys import PrivateKey
    from asynctls.ttp.ca import CertificateAuthority
    from asynctls.ttp.keyfiles import KeyFiles
    from asynctls.ttp.transactions import Transaction

__all__ = ["NEXT", "check_passphrase", "forget_next", "is_due", "next_key", "renew", "take_up"]

log = get_logger()

NEXT = "issuing-next"
"""The key that no certificate is there for yet: for a request, or for a try that was cut short."""


def is_due(authority: CertificateAuthority, config: TTPConfig, now: datetime) -> bool:
    """Whether two thirds of the newest CA's time are over, and a new one could last longer."""
    at, newest = authority.taken_up[-1]
    end = newest.certificate.not_valid_after_utc
    longest = min(now + config.issuing_lifetime, authority.root.not_valid_after_utc)
    return now >= end - (end - at) / 3 and longest > end


def renew(
    transaction: Transaction, config: TTPConfig, keys: KeyFiles, *, now: datetime
) -> CertificateAuthority:
    """The CAs as they are now, another TTP's included, and a successor when that is due.

    Without the root's key none is made: it is signed elsewhere, and imported.

    Raises:
        StateError: a file cannot be read or written.
    """
    _adopt(transaction, keys, now)
    authority = ca.load(transaction.connection, keys, now=now, status_url=config.status_url)
    root = authority.root_issuer
    if root is None or not is_due(authority, config, now):
        return authority
    key = next_key(keys, authority, KeyType(config.issuing_key_type))
    certificate = make_issuing(
        key.public_key(),
        issuer=root,
        lifetime=config.issuing_lifetime,
        now=now,
        constraints=ca.constraints_of(config),
    )
    take_up(transaction, certificate, key, keys, is_shared=config.ledger is not None, now=now)
    return ca.load(transaction.connection, keys, now=now, status_url=config.status_url)


def next_key(
    keys: KeyFiles, authority: CertificateAuthority | None, key_type: KeyType
) -> PrivateKey:
    """The key for the next issuing CA: the one that waits, else a new one.

    Raises:
        StateError: a file cannot be read or written.
    """
    key = keys.read(NEXT)
    if key is None or (authority is not None and _is_taken(key, authority)):
        key = generate_now(key_type)
        keys.write(NEXT, key)
    return key


def forget_next(keys: KeyFiles, authority: CertificateAuthority) -> None:
    """Removes the key that waited for its certificate, once it has one; blocking.

    Raises:
        StateError: a file cannot be read or removed.
    """
    key = keys.read(NEXT)
    if key is not None and _is_taken(key, authority):
        keys.remove(NEXT)


def take_up(
    transaction: Transaction,
    certificate: x509.Certificate,
    key: PrivateKey,
    keys: KeyFiles,
    *,
    is_shared: bool,
    now: datetime,
) -> None:
    """Takes up an issuing CA's certificate with its key; from the commit on it is one of ours.

    Args:
        transaction: the writer's.
        certificate: signed by the root.
        key: its key.
        keys: where it is kept.
        is_shared: whether other TTPs, with folders of their own, share the ledger.
        now: since when it counts as published.

    Raises:
        StateError: a file cannot be written.
    """
    _write(certificate, key, keys)
    key_id = key_id_text(certificate)
    sealing_key = sealing.key_of(transaction, keys.passphrase)
    own.record(
        transaction,
        certificate,
        ca.ISSUING,
        Profile.ISSUING,
        issuer=ca.root_key_id(keys.folder),
        now=now,
        sealed_key=sealing.seal(key, sealing_key, key_id) if is_shared else "",
        sealed_with=sealing.mark(sealing_key) if is_shared else "",
    )


def check_passphrase(transaction: Transaction, keys: KeyFiles) -> None:
    """Says so at once when other TTPs of this ledger have another passphrase than we.

    It ends nothing: it may have been changed on all of them, and until a successor comes nobody
    needs it to be the same.
    """
    marks = [
        row.sealed_with
        for row in records.own_certificates(transaction.connection, ca.ISSUING)
        if row.sealed_with
    ]
    if marks and marks[-1] != sealing.mark(sealing.key_of(transaction, keys.passphrase)):
        log.error(
            "the key passphrase is not the other TTPs'",
            reason="the newest issuing CA was recorded by a TTP with another one, and we cannot "
            "take over a successor that such a TTP makes",
            advice="give all TTPs of this ledger the same; if it was changed on all of them, this "
            "ends with the next issuing CA",
        )


def _is_taken(key: PrivateKey, authority: CertificateAuthority) -> bool:
    public_key = key.public_key()
    return any(each.key.public_key() == public_key for _, each in authority.taken_up)


def _adopt(transaction: Transaction, keys: KeyFiles, now: datetime) -> None:
    """Writes the issuing CAs that another TTP took up, and whose files are not here yet."""
    for row in records.own_certificates(transaction.connection, ca.ISSUING):
        certificate = certificate_from_der(row.der)
        key_id = key_id_text(certificate)
        if certificate.not_valid_after_utc <= now or not row.sealed_key:
            continue
        if (keys.folder / f"{ca.ISSUING}-{key_id}.pem").exists():
            continue
        try:
            # Who can write to the database cannot bring in a CA: its key would have to be sealed.
            check_issued_by(certificate, ca.root_of(keys.folder))
            key = sealing.unseal(
                row.sealed_key, sealing.key_of(transaction, keys.passphrase), key_id
            )
            Issuer(certificate, key)
        except CertificateError as error:
            raise StateError(
                f"the issuing CA {key_id} of another TTP cannot be taken over: {error}; all TTPs "
                "of one ledger need the same ledger.key and the same key passphrase"
            ) from error
        _write(certificate, key, keys)
        log.info("issuing CA taken over from another TTP", ca=key_id)


def _write(certificate: x509.Certificate, key: PrivateKey, keys: KeyFiles) -> None:
    name = f"{ca.ISSUING}-{key_id_text(certificate)}"
    keys.write(name, key)
    path = keys.folder / f"{name}.pem"
    if not path.exists() or path.read_bytes() != to_pem(certificate).encode():
        state.write_atomically(path, to_pem(certificate).encode())
