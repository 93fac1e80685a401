"""The CAs: the root, and the issuing CAs, of which one issues and each answers for what it issued.

What is made is made inside one transaction of the ledger's writer, which is also what keeps two
processes from making two CAs. A key is written before its certificate, and each step looks first
for what is there already: killed at any moment, the next start finishes what this one began, and a
certificate whose row was not committed gets its row then.

Files in the state folder: ``root.pem``, ``root.key`` (unless it was moved away); the first issuing
CA in ``issuing.pem`` and ``issuing.key``, each later one in ``issuing-<key id>.pem`` and ``….key``,
its key id being its subject key identifier. The files are what counts, so that who can write to the
ledger's database cannot bring in a CA; the ledger's rows say in which order they were taken up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Self

from msgspec.structs import replace

from asynctls import state
from asynctls.errors import CertificateError, ConfigError, Fault, StateError
from asynctls.logger import get_logger
from asynctls.pki.certificates import (
    certificates_from_pem,
    check_issued_by,
    fingerprint,
    to_der,
    to_pem,
)
from asynctls.pki.constraints import name_constraints
from asynctls.pki.keys import KeyType, PrivateKey, generate_now
from asynctls.pki.profiles import Issuer, Profile, key_id_text, make_issuing, make_root
from asynctls.ttp import own, records, sealing
from asynctls.ttp.keyfiles import RESTORE
from asynctls.ttp.pointers import pointers_by, pointers_by_root

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    import sqlalchemy as sa
    from cryptography import x509

    from asynctls.config import TTPConfig
    from asynctls.ttp.keyfiles import KeyFiles
    from asynctls.ttp.transactions import Transaction

__all__ = [
    "ISSUING",
    "PUBLISHED_FIRST",
    "ROOT",
    "CertificateAuthority",
    "check_there",
    "constraints_of",
    "exists",
    "load",
    "make",
    "root_key_id",
    "root_of",
]

log = get_logger()

ROOT = "root"
ISSUING = "issuing"

PUBLISHED_FIRST = timedelta(days=7)
"""For how long ``/cacerts`` hands out a new issuing CA before it issues, at the most."""


@dataclass(frozen=True)
class CertificateAuthority:
    """Root and issuing CAs at one moment.

    Attributes:
        root: the root's certificate.
        root_key: None where it was moved away, or was never here.
        issuers: the issuing CAs whose certificates have not ended, oldest first: what they issued
            can still be valid, so each signs a CRL of its own. The only one even if it has ended.
        issuing: the one of them that issues now.
        taken_up: every issuing CA that there was, and since when, oldest first.
        status_url: where the public finds what they sign, if anywhere.
    """

    root: x509.Certificate
    root_key: PrivateKey | None
    taken_up: tuple[tuple[datetime, Issuer], ...]
    issuers: tuple[Issuer, ...]
    issuing: Issuer
    status_url: str | None = None

    @classmethod
    def of(
        cls,
        root: x509.Certificate,
        root_key: PrivateKey | None,
        taken_up: tuple[tuple[datetime, Issuer], ...],
        *,
        now: datetime,
        status_url: str | None = None,
    ) -> Self:
        """The CAs as they stand at ``now``."""
        issuing = _who_issues(taken_up, now)
        current = tuple(
            issuer for _, issuer in taken_up if issuer.certificate.not_valid_after_utc > now
        )
        return cls(root, root_key, taken_up, current or (issuing,), issuing, status_url)

    def at(self, now: datetime) -> CertificateAuthority:
        """The same CAs as they stand at another time: one may issue that did not, or have ended."""
        url = self.status_url
        then = self.of(self.root, self.root_key, self.taken_up, now=now, status_url=url)
        return self if then == self else then

    def issues_from(self, issuer: Issuer) -> datetime:
        """When one of the CAs issues, or began to."""
        place = [each for _, each in self.taken_up].index(issuer)
        at = self.taken_up[place][0]
        return _issues_from(at, self.taken_up[place - 1][1]) if place else at

    @cached_property
    def first_key_id(self) -> str:
        """Of the CA that signed what names no issuer (before schema 0002)."""
        return key_id_text(self.taken_up[0][1].certificate)

    @cached_property
    def root_issuer(self) -> Issuer | None:
        """The root with its key, where that is at hand."""
        if self.root_key is None:
            return None
        return Issuer(self.root, self.root_key, pointers_by_root(self.status_url))

    @cached_property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """What ``/cacerts`` hands out (RFC 7030, section 4.1.3).

        The CA that issues now, the other issuing CAs, the root.
        """
        issuing = self.issuing.certificate
        others = (each.certificate for each in self.issuers)
        return (issuing, *(each for each in others if each != issuing), self.root)

    @cached_property
    def root_sha256(self) -> bytes:
        """The fingerprint that join strings pin, 32 bytes."""
        return fingerprint(self.root)


def exists(folder: Path) -> bool:
    """Whether a TTP's CA was made in ``folder``, down to its last file."""
    return (folder / "issuing.pem").exists()


def constraints_of(config: TTPConfig) -> x509.NameConstraints | None:
    """The name constraints for issuing CAs that are made from now on.

    Raises:
        ConfigError: one of them is none; with all that are.
    """
    try:
        return name_constraints(config.name_constraints)
    except CertificateError as error:
        faults = str(error).splitlines()
        raise ConfigError(
            *(Fault("ttp.name_constraints", "setting", fault) for fault in faults)
        ) from error


def check_there(folder: Path) -> None:
    """For a folder in which there must be a CA already; blocking.

    Raises:
        StateError: there is none.
    """
    for name in ("root.pem", "issuing.pem"):
        if not (folder / name).exists():
            raise StateError(_missing(folder / name))


def root_of(folder: Path) -> x509.Certificate:
    """The root's certificate; blocking.

    Raises:
        StateError: it is missing, or cannot be used.
    """
    return _certificate(folder / "root.pem")


def root_key_id(folder: Path) -> str:
    """The root's key identifier; blocking.

    Raises:
        StateError: as for :func:`root_of`.
    """
    return key_id_text(root_of(folder))


def load(
    connection: sa.Connection, keys: KeyFiles, *, now: datetime, status_url: str | None
) -> CertificateAuthority:
    """Reads the CAs that were made before; a query of the ledger that also reads files.

    Raises:
        StateError: a file is missing or not what it should be; says which and what to do.
    """
    root = _certificate(keys.folder / "root.pem")
    root_key = keys.read(ROOT)
    if root_key is not None:
        _matched(root, root_key, keys, ROOT)
    taken_up = {
        own_certificate.der: own_certificate
        for own_certificate in records.own_certificates(connection, ISSUING)
    }
    found: list[tuple[int, datetime, Issuer]] = []
    for path in sorted(keys.folder.glob("issuing*.pem")):
        issuer = _issuer(path, root, keys)
        row = taken_up.get(to_der(issuer.certificate))
        if row is not None:
            found.append((row.sequence, row.at, issuer))
        elif path.stem == ISSUING:
            found.append((0, issuer.certificate.not_valid_before_utc, issuer))
    found.sort(key=lambda each: each[0])
    if not found:
        raise StateError(_missing(keys.folder / "issuing.pem"))
    taken_up_in_order = tuple(
        (at, replace(issuer, pointers=pointers_by(issuer.certificate, status_url)))
        for _, at, issuer in found
    )
    return CertificateAuthority.of(
        root, root_key, taken_up_in_order, now=now, status_url=status_url
    )


def make(
    transaction: Transaction, config: TTPConfig, keys: KeyFiles, *, now: datetime
) -> CertificateAuthority:
    """The CAs in the state folder, made as far as they are not there; an operation of the ledger.

    Raises:
        StateError: a file cannot be written, or what is there cannot be used.
    """
    folder = keys.folder
    if encrypted := keys.encrypt():
        log.info("private keys encrypted", names=encrypted)
    if not (folder / "issuing.pem").exists():
        _make_first(config, keys, now)
    root = _certificate(folder / "root.pem")
    issuing = _issuer(folder / "issuing.pem", root, keys)
    root_id = key_id_text(root)
    own.record(transaction, root, ROOT, Profile.ROOT, issuer=root_id, now=now)
    sealing_key = sealing.key_of(transaction, keys.passphrase)
    own.record(
        transaction,
        issuing.certificate,
        ISSUING,
        Profile.ISSUING,
        issuer=root_id,
        now=now,
        sealed_with=sealing.mark(sealing_key) if config.ledger is not None else "",
    )
    return load(transaction.connection, keys, now=now, status_url=config.status_url)


def _make_first(config: TTPConfig, keys: KeyFiles, now: datetime) -> None:
    folder = keys.folder
    root_key = _made_key(keys, ROOT, KeyType(config.root_key_type))
    if not (folder / "root.pem").exists():
        certificate = make_root(root_key, lifetime=config.root_lifetime, now=now)
        state.write_atomically(folder / "root.pem", to_pem(certificate).encode())
    root = _matched(_certificate(folder / "root.pem"), root_key, keys, ROOT)
    root = replace(root, pointers=pointers_by_root(config.status_url))
    issuing_key = _made_key(keys, ISSUING, KeyType(config.issuing_key_type))
    certificate = make_issuing(
        issuing_key.public_key(),
        issuer=root,
        lifetime=config.issuing_lifetime,
        now=now,
        constraints=constraints_of(config),
    )
    state.write_atomically(folder / "issuing.pem", to_pem(certificate).encode())


def _who_issues(taken_up: tuple[tuple[datetime, Issuer], ...], now: datetime) -> Issuer:
    """The newest CA that has been published for long enough, as far as it has not ended."""
    issuing = taken_up[0][1]
    for at, issuer in taken_up[1:]:
        if now >= _issues_from(at, issuing):
            issuing = issuer
    return issuing


def _issues_from(at: datetime, before: Issuer) -> datetime:
    """When a CA that was taken up ``at`` issues in place of the one before."""
    return at + min(PUBLISHED_FIRST, (before.certificate.not_valid_after_utc - at) / 2)


def _made_key(keys: KeyFiles, name: str, key_type: KeyType) -> PrivateKey:
    key = keys.read(name)
    if key is None:
        certificate = keys.folder / f"{name}.pem"
        if certificate.exists():
            raise StateError(
                f"{keys.path(name)} is missing, though {certificate} is there; {RESTORE}"
            )
        key = generate_now(key_type)
        keys.write(name, key)
    return key


def _issuer(path: Path, root: x509.Certificate, keys: KeyFiles) -> Issuer:
    """One issuing CA of this root, with its key."""
    certificate = _certificate(path)
    try:
        check_issued_by(certificate, root)
    except CertificateError as error:
        raise StateError(
            f"{path} is not a certificate of the root beside it ({error}); {RESTORE}"
        ) from error
    key = keys.read(path.stem)
    if key is None:
        raise StateError(f"{keys.path(path.stem)} is missing, though {path} is there; {RESTORE}")
    return _matched(certificate, key, keys, path.stem)


def _matched(certificate: x509.Certificate, key: PrivateKey, keys: KeyFiles, name: str) -> Issuer:
    try:
        return Issuer(certificate, key)
    except CertificateError as error:
        raise StateError(
            f"{keys.folder / name}.pem and its key cannot be used: {error}; {RESTORE}"
        ) from error


def _certificate(path: Path) -> x509.Certificate:
    try:
        return certificates_from_pem(path.read_bytes())[0]
    except FileNotFoundError as error:
        raise StateError(_missing(path)) from error
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error
    except CertificateError as error:
        raise StateError(f"{path} cannot be used: {error}; {RESTORE}") from error


def _missing(path: Path) -> str:
    return f"{path} is missing: start 'asynctls ttp' with this state folder first, or {RESTORE}"
