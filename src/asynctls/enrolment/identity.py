"""A role's identity on disk, as PEM files that other programs load as they are.

=================  ==========================================================================
``key.pem``        the private key (PKCS#8, mode 0600)
``cert.pem``       the certificate, then the issuing CA's: what nginx, psql and curl load
``ca.pem``         the root and the issuing CAs that are trusted
``crl.pem``        the issuing CA's CRL and the root's
``identity.json``  the TTP's address, the root's fingerprint, the name
=================  ==========================================================================

They belong together, and no disk replaces five files at once. So a new identity is first written
whole into ``joined.json``, in one atomic step; from that moment on it is the identity, and whoever
loads it next, after whatever crash, finishes the copying.
"""

from __future__ import annotations

import asyncio
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from asynctls.config import Address
from asynctls.enrolment.joining_key import find_key_of, forget_joining_key, keep_joining_key
from asynctls.errors import CertificateError, IdentityError, StateError
from asynctls.pki.certificates import (
    certificate_from_der,
    certificates_from_pem,
    check_issued_by,
    fingerprint,
    to_der,
    to_pem,
)
from asynctls.pki.keys import (
    KeyType,
    PrivateKey,
    judge_public_key,
    key_from_pem,
    key_to_pem,
    key_type_of,
)
from asynctls.pki.names import format_serial, identity_name, sans_of
from asynctls.pki.pins import Pin
from asynctls.pki.profiles import MAX_BACKDATING
from asynctls.state import read_private, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from cryptography import x509

__all__ = ["Identity", "Joined", "store", "store_renewed", "store_trust"]

_KEY = "key.pem"
_CERTIFICATE = "cert.pem"
_TRUST = "ca.pem"
_CRL = "crl.pem"
_ORIGIN = "identity.json"
_JOURNAL = "joined.json"
_PUBLIC_MODE = 0o644
_AGAIN = "join again with a new token"


class _Origin(msgspec.Struct, frozen=True, kw_only=True):
    ttp: str
    root_sha256: str
    name: str


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """A new identity as the journal holds it, all but its key; the texts are PEM."""

    certificate: str
    trust: str
    crl: str
    origin: _Origin

    @classmethod
    def of(
        cls,
        certificate: x509.Certificate,
        *,
        issuing: tuple[x509.Certificate, ...],
        root: x509.Certificate,
        crl: str,
        ttp: Address,
    ) -> Self:
        """What was joined: the leaf, its issuing CA first among ``issuing``, the root, the CRLs."""
        return cls(
            certificate=to_pem(certificate, issuing[0]),
            trust=to_pem(root, *issuing),
            crl=crl,
            origin=_Origin(
                ttp=str(ttp),
                root_sha256=fingerprint(root).hex(),
                name=identity_name(certificate),
            ),
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a role is, as found in its state folder and found consistent there.

    Attributes:
        folder: The state folder.
        name: The first DNS name of the certificate, else its first URI.
        sans: All its subject alternative names.
        serial_number: The certificate's, as a number; ``serial`` is its text.
        not_before: When it begins to be valid.
        not_after: When it ends; an identity is loaded all the same, see ``expired``.
        key_type: The kind of its key.
        fingerprint: SHA-256 of the certificate, lower-case hex.
        certificate: The certificate, DER.
        chain: Its issuing CA's certificate (and any above it but the root), DER.
        trust: The root's and the issuing CAs' certificates, PEM, the root first.
        ttp: Where the TTP listens that issued it.
        root_sha256: The pinned root's fingerprint.
        lifetime: From its issuance to its end.
        renews_at: When its renewal is due.
    """

    folder: Path
    name: str
    sans: tuple[str, ...]
    serial_number: int
    not_before: datetime
    not_after: datetime
    key_type: KeyType
    fingerprint: str
    certificate: bytes = field(repr=False)
    chain: tuple[bytes, ...] = field(repr=False)
    trust: str = field(repr=False)
    ttp: Address
    root_sha256: bytes = field(repr=False)

    @classmethod
    async def of(cls, given: str | Path | Identity) -> Identity:
        """The identity in the state folder ``given``; an identity is given back as it is.

        Raises:
            IdentityError: There is none, or what is there cannot be used, and why.
        """
        if isinstance(given, Identity):
            return given
        return await asyncio.to_thread(cls.load, Path(given))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Finds the identity in ``folder``; blocks.

        An interrupted swap is finished first. That the certificate has expired is no fault here.

        Raises:
            IdentityError: There is none, or what is there cannot be used, and why.
        """
        found = cls.find(folder)
        if found is None:
            raise IdentityError(f"there is no identity in {folder}: join the TTP with a token")
        return found

    @classmethod
    def find(cls, folder: Path) -> Self | None:
        """Like ``load``, but None where there is no identity at all.

        Raises:
            IdentityError: What is there cannot be used, and why.
        """
        try:
            _finish(folder)
            if not (folder / _CERTIFICATE).exists():
                return None
            _check_folder(folder)
            try:
                return cls._read(folder)
            except IdentityError:
                # Another process may just have swapped cert.pem and key.pem under our eyes.
                _finish(folder)
                return cls._read(folder)
        except (StateError, OSError) as error:
            raise IdentityError(f"the identity in {folder} cannot be used: {error}") from error

    @classmethod
    def _read(cls, folder: Path) -> Self:
        key = _key(folder / _KEY)
        leaf, *chain = _certificates(folder / _CERTIFICATE)
        root, *issuing = _certificates(folder / _TRUST)
        origin = _origin(folder / _ORIGIN)
        try:
            ttp, pin = Address.parse(origin.ttp), bytes.fromhex(origin.root_sha256)
        except ValueError as error:
            raise IdentityError(f"{folder / _ORIGIN} is damaged: {error}; {_AGAIN}") from error
        if fingerprint(root) != pin:
            raise IdentityError(
                f"the first certificate in {folder / _TRUST} is not the root that "
                f"{folder / _ORIGIN} names; {_AGAIN}"
            )
        try:
            public_key = judge_public_key(leaf.public_key())
            if key.public_key() != public_key:
                raise IdentityError(
                    f"{folder / _KEY} is not the key of the certificate in {folder / _CERTIFICATE};"
                    f" {_AGAIN}"
                )
            for certificate, issuer in zip((leaf, *chain), (*chain, root), strict=True):
                check_issued_by(certificate, issuer)
            for certificate in issuing:
                check_issued_by(certificate, root)
            sans = sans_of(leaf)
        except CertificateError as error:
            raise IdentityError(
                f"the certificates in {folder} do not lead to the root: {error}; {_AGAIN}"
            ) from error
        return cls(
            folder=folder,
            name=identity_name(leaf),
            sans=sans,
            serial_number=leaf.serial_number,
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
            key_type=key_type_of(public_key),
            fingerprint=fingerprint(leaf).hex(),
            certificate=to_der(leaf),
            chain=tuple(map(to_der, chain)),
            trust=to_pem(root, *issuing),
            ttp=ttp,
            root_sha256=pin,
        )

    @property
    def serial(self) -> str:
        """The serial number as openssl prints it."""
        return format_serial(self.serial_number)

    @property
    def pin(self) -> Pin:
        """The public key's pin, for others' allow lists; another one after each renewal."""
        return Pin.of(certificate_from_der(self.certificate))

    @property
    def lifetime(self) -> timedelta:
        """From issuance to the end; backdating (`pki.profiles`) is no time that it was in use."""
        span = self.not_after - self.not_before
        return max(span - MAX_BACKDATING, span / 2)

    @property
    def renews_at(self) -> datetime:
        """When the next certificate is due: at two thirds of the lifetime, or a little later."""
        return self.not_after - self.lifetime / 3

    @property
    def root(self) -> x509.Certificate:
        """The pinned root."""
        return certificates_from_pem(self.trust.encode())[0]

    @property
    def issuing(self) -> tuple[x509.Certificate, ...]:
        """The issuing CAs that are trusted."""
        return certificates_from_pem(self.trust.encode())[1:]

    def trusting(self, issuing: Sequence[x509.Certificate]) -> Self:
        """The same identity, with these issuing CAs trusted under the same root."""
        if set(issuing) == set(self.issuing):
            return self
        return replace(self, trust=to_pem(self.root, *issuing))

    @property
    def key_file(self) -> Path:
        """``key.pem``."""
        return self.folder / _KEY

    @property
    def certificate_file(self) -> Path:
        """``cert.pem``: the leaf, then the issuing CA."""
        return self.folder / _CERTIFICATE

    @property
    def trust_file(self) -> Path:
        """``ca.pem``: the root and the issuing CAs."""
        return self.folder / _TRUST

    @property
    def crl_file(self) -> Path:
        """``crl.pem``: the issuing CA's CRL and the root's."""
        return self.folder / _CRL

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that other programs load."""
        return (self.key_file, self.certificate_file, self.trust_file, self.crl_file)

    def expired(self, now: datetime) -> bool:
        """Whether the certificate has ended."""
        return now >= self.not_after

    def check_valid(self, now: datetime) -> None:
        """Checks that the certificate has not ended.

        Raises:
            IdentityError: It has, when, and what to do.
        """
        if self.expired(now):
            raise IdentityError(
                f"the certificate of {self.name} in {self.folder} expired on "
                f"{self.not_after:%Y-%m-%d %H:%M:%S} UTC: {_AGAIN} ('asynctls ttp token "
                f"{self.name}')"
            )

    def __str__(self) -> str:
        return f"{self.name} (serial {self.serial}, until {self.not_after:%Y-%m-%d %H:%M:%S} UTC)"


def store(folder: Path, joined: Joined) -> Identity:
    """Makes ``joined``, with the joining key, the identity in ``folder``; blocks.

    Raises:
        StateError: It cannot be written; the old identity, if any, is as it was.
        IdentityError: What was written does not hold together.
    """
    write_atomically(folder / _JOURNAL, msgspec.json.encode(joined))
    return Identity.load(folder)


def store_renewed(held: Identity, key: PrivateKey, joined: Joined) -> Identity:
    """Makes ``joined`` the identity in the place of ``held``; blocks. The folder must be held.

    Returns:
        What is on disk then: where another process was first, the identity that it put there.

    Raises:
        StateError: It cannot be written; the old identity is as it was.
        IdentityError: What is on disk cannot be used.
    """
    on_disk = Identity.load(held.folder)
    if on_disk.certificate != held.certificate:
        return on_disk
    keep_joining_key(held.folder, key, f"renewal of {held.serial}")
    return store(held.folder, joined)


def store_trust(identity: Identity, *, crl: str) -> None:
    """Writes the CAs that ``identity`` trusts, and their CRLs (PEM), in one step; blocks.

    The folder must be held. Nothing is written where another identity lies there by now.

    Raises:
        StateError: It cannot be written; what was there is as it was.
        IdentityError: What is on disk cannot be used.
    """
    if Identity.load(identity.folder).certificate != identity.certificate:
        return
    leaf, *chain = map(certificate_from_der, (identity.certificate, *identity.chain))
    joined = Joined(
        certificate=to_pem(leaf, *chain),
        trust=identity.trust,
        crl=crl,
        origin=_Origin(
            ttp=str(identity.ttp), root_sha256=identity.root_sha256.hex(), name=identity.name
        ),
    )
    store(identity.folder, joined)


def _finish(folder: Path) -> None:
    """Copies what a journal holds to its places: any number of times, by anybody."""
    try:
        content = read_private(folder / _JOURNAL)
    except FileNotFoundError:
        return
    try:
        joined = msgspec.json.decode(content, type=Joined)
        leaf = certificates_from_pem(joined.certificate.encode())[0]
    except (msgspec.MsgspecError, CertificateError) as error:
        raise IdentityError(f"{folder / _JOURNAL} is damaged: {error}; {_AGAIN}") from error
    write_atomically(folder / _TRUST, joined.trust.encode(), mode=_PUBLIC_MODE)
    write_atomically(folder / _CRL, joined.crl.encode(), mode=_PUBLIC_MODE)
    write_atomically(folder / _ORIGIN, msgspec.json.encode(joined.origin), mode=_PUBLIC_MODE)
    # These two last and next to one another: in between, another program finds a pair that does
    # not match.
    write_atomically(folder / _CERTIFICATE, joined.certificate.encode(), mode=_PUBLIC_MODE)
    key = find_key_of(folder, leaf)
    if key is not None:
        write_atomically(folder / _KEY, key_to_pem(key))
    forget_joining_key(folder)
    (folder / _JOURNAL).unlink(missing_ok=True)


def _check_folder(folder: Path) -> None:
    if folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise IdentityError(
            f"other users can enter {folder}, which holds a private key; do: chmod 700 {folder}"
        )


def _key(path: Path) -> PrivateKey:
    try:
        return key_from_pem(read_private(path))
    except FileNotFoundError as error:
        raise IdentityError(f"{path} is missing; {_AGAIN}") from error
    except CertificateError as error:
        raise IdentityError(f"{path}: {error}; {_AGAIN}") from error


def _certificates(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return certificates_from_pem(path.read_bytes())
    except FileNotFoundError as error:
        raise IdentityError(f"{path} is missing; {_AGAIN}") from error
    except CertificateError as error:
        raise IdentityError(f"{path}: {error}; {_AGAIN}") from error


def _origin(path: Path) -> _Origin:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Origin)
    except FileNotFoundError as error:
        raise IdentityError(f"{path} is missing; {_AGAIN}") from error
    except msgspec.MsgspecError as error:
        raise IdentityError(f"{path} is damaged: {error}; {_AGAIN}") from error
