"""The TTP's own keys and certificates on disk: root, issuing CA, and what it shows in TLS.

Everything is made inside one transaction of the ledger's writer, which is also what keeps two
processes from making two CAs. A key is written before its certificate, and each step looks first
for what is there already: killed at any moment, the next start finishes what this one began, and a
certificate whose row was not committed gets its row then.

Files in the state folder: ``root.key``, ``root.pem``, ``issuing.key``, ``issuing.pem``,
``ttp.key``, ``ttp.pem`` (leaf, then issuing CA); the keys PKCS#8, all 0600.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from asynctls import state
from asynctls.errors import CertificateError, StateError
from asynctls.pki.certificates import (
    certificates_from_pem,
    check_issued_by,
    fingerprint,
    to_der,
    to_pem,
)
from asynctls.pki.keys import (
    KeyType,
    PrivateKey,
    generate_now,
    judge_public_key,
    key_from_pem,
    key_to_pem,
    key_type_of,
    spki_sha256,
)
from asynctls.pki.names import format_serial, sans_of
from asynctls.pki.profiles import Issuer, Profile, issue, make_issuing, make_root
from asynctls.ttp import records
from asynctls.ttp.schema import CertificateBody, Kind, row_of

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from cryptography import x509

    from asynctls.config import TTPConfig
    from asynctls.ttp.ledger import Transaction

__all__ = ["TLS_LIFETIME", "CertificateAuthority", "exists", "make", "make_tls", "tls_is_due"]

TLS_LIFETIME = timedelta(days=30)
"""Of the TTP's own TLS certificate; it is renewed at two thirds of it by itself."""

_RESTORE = "restore the state folder from a backup"


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """Root and issuing CA as found on disk, each with its key."""

    root: Issuer
    issuing: Issuer

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """What ``/cacerts`` hands out (RFC 7030, section 4.1.3): issuing CA, then root."""
        return (self.issuing.certificate, self.root.certificate)

    @property
    def root_sha256(self) -> bytes:
        """The fingerprint that join strings pin, 32 bytes."""
        return fingerprint(self.root.certificate)


def exists(folder: Path) -> bool:
    """Whether a TTP's CA was made in ``folder``, down to its last file."""
    return (folder / "issuing.pem").exists()


def load(folder: Path) -> CertificateAuthority:
    """Reads a CA that was made before; blocking.

    Raises:
        StateError: a file is missing or not what it should be; says which and what to do.
    """
    root = _issuer(folder, "root")
    issuing = _issuer(folder, "issuing")
    try:
        check_issued_by(issuing.certificate, root.certificate)
    except CertificateError as error:
        raise StateError(
            f"{folder / 'issuing.pem'} is not a certificate of the root beside it ({error}); "
            f"{_RESTORE}"
        ) from error
    return CertificateAuthority(root, issuing)


def make(transaction: Transaction, config: TTPConfig, *, now: datetime) -> CertificateAuthority:
    """The CA in the state folder, made as far as it is not there; an operation of the ledger.

    Raises:
        StateError: a file cannot be written, or what is there cannot be used.
    """
    folder = config.state
    root_key = _key(folder, "root", KeyType(config.root_key_type))
    if not (folder / "root.pem").exists():
        certificate = make_root(root_key, lifetime=config.root_lifetime, now=now)
        state.write_atomically(folder / "root.pem", to_pem(certificate).encode())
    root = _issuer(folder, "root")
    issuing_key = _key(folder, "issuing", KeyType(config.issuing_key_type))
    if not (folder / "issuing.pem").exists():
        certificate = make_issuing(
            issuing_key.public_key(), issuer=root, lifetime=config.issuing_lifetime, now=now
        )
        state.write_atomically(folder / "issuing.pem", to_pem(certificate).encode())
    authority = load(folder)
    _record(transaction, root.certificate, "root", Profile.ROOT, now)
    _record(transaction, authority.issuing.certificate, "issuing", Profile.ISSUING, now)
    return authority


def make_tls(
    transaction: Transaction,
    authority: CertificateAuthority,
    folder: Path,
    *,
    names: tuple[str, ...],
    now: datetime,
) -> x509.Certificate:
    """The TTP's TLS certificate: the one on disk while it is good, else a new one with a new key.

    Raises:
        StateError: a file cannot be written.
    """
    found = _found_tls(folder, authority, names)
    if found is None or tls_is_due(found, authority, now):
        key = generate_now(_tls_key_type(authority.issuing.certificate))
        found = issue(
            Profile.TTP,
            issuer=authority.issuing,
            public_key=key.public_key(),
            sans=names,
            lifetime=TLS_LIFETIME,
            now=now,
        )
        state.write_atomically(folder / "ttp.key", key_to_pem(key))
        pem = to_pem(found, authority.issuing.certificate)
        state.write_atomically(folder / "ttp.pem", pem.encode())
    _record(transaction, found, "ttp", Profile.TTP, now)
    return found


def tls_is_due(
    certificate: x509.Certificate, authority: CertificateAuthority, now: datetime
) -> bool:
    """Whether two thirds of its lifetime are over, and a new one could last longer."""
    end = certificate.not_valid_after_utc
    if end >= authority.issuing.certificate.not_valid_after_utc:
        return False
    return now >= end - (end - certificate.not_valid_before_utc) / 3


def _tls_key_type(issuing: x509.Certificate) -> KeyType:
    """As small as a leaf's of the issuer's kind: each handshake pays for it on the event loop."""
    kind = key_type_of(judge_public_key(issuing.public_key()))
    return KeyType.RSA_2048 if kind.startswith("rsa") else KeyType.ECDSA_P256


def _found_tls(
    folder: Path, authority: CertificateAuthority, names: tuple[str, ...]
) -> x509.Certificate | None:
    """What is on disk, if it is whole, of this CA, and for these names; else it is replaced."""
    try:
        key = key_from_pem(state.read_private(folder / "ttp.key"))
        chain = certificates_from_pem((folder / "ttp.pem").read_bytes())
        found = chain[0]
        check_issued_by(found, authority.issuing.certificate)
        good = (
            chain[1:] == (authority.issuing.certificate,)
            and found.public_key() == key.public_key()
            and set(sans_of(found)) == set(names)
        )
    except (OSError, CertificateError):
        return None
    return found if good else None


def _key(folder: Path, name: str, key_type: KeyType) -> PrivateKey:
    path = folder / f"{name}.key"
    certificate = folder / f"{name}.pem"
    try:
        return key_from_pem(state.read_private(path))
    except FileNotFoundError:
        if certificate.exists():
            raise StateError(
                f"{path} is missing, though {certificate} is there; {_RESTORE}"
            ) from None
    except CertificateError as error:
        raise StateError(f"{path} cannot be used: {error}; {_RESTORE}") from error
    key = generate_now(key_type)
    state.write_atomically(path, key_to_pem(key))
    return key


def _issuer(folder: Path, name: str) -> Issuer:
    path = folder / f"{name}.pem"
    try:
        certificate = certificates_from_pem(path.read_bytes())[0]
        return Issuer(certificate, key_from_pem(state.read_private(folder / f"{name}.key")))
    except FileNotFoundError as error:
        raise StateError(
            f"{error.filename} is missing: start 'asynctls ttp' with this state folder first, or "
            f"{_RESTORE}"
        ) from error
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error
    except CertificateError as error:
        raise StateError(f"{path} and its key cannot be used: {error}; {_RESTORE}") from error


def _record(
    transaction: Transaction,
    certificate: x509.Certificate,
    name: str,
    profile: Profile,
    now: datetime,
) -> None:
    serial = format_serial(certificate.serial_number)
    if records.has_own_certificate(transaction.connection, serial):
        return
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    transaction.append(
        row_of(
            Kind.OWN_CERTIFICATE_ISSUED,
            CertificateBody(
                sans=sans_of(certificate),
                profile=profile,
                lifetime_s=int((end - start).total_seconds()),
                not_before=start,
            ),
            at=int(now.timestamp()),
            serial=serial,
            name=name,
            spki_sha256=spki_sha256(judge_public_key(certificate.public_key())),
            ends_at=int(end.timestamp()),
            der=to_der(certificate),
        )
    )
