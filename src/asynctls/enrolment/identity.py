"""Who a role is: its certificate, its names, whom it trusts; kept in a folder or in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from asynctls.config import Address
from asynctls.enrolment.folder import Folder
from asynctls.enrolment.memory import Memory
from asynctls.enrolment.texts import CERTIFICATE, CRL, KEY, ORIGIN, TRUST, Joined, Origin, Texts
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
from asynctls.pki.malformed import MALFORMED
from asynctls.pki.names import format_serial, identity_name, sans_of
from asynctls.pki.pins import Pin
from asynctls.pki.profiles import MAX_BACKDATING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from cryptography import x509

__all__ = ["Identity", "store", "store_renewed", "store_trust"]

T = TypeVar("T")

# Nobody's: an identity of no TTP neither renews nor fetches CRLs.
_NO_TTP = Address("127.0.0.1", 0)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a role is, as found where it is kept, and found consistent there.

    Attributes:
        store: Where it is kept: a state folder, or memory.
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
        ttp: Where the TTP listens that issued it; port 0: there is none.
        root_sha256: The pinned root's fingerprint.
        lifetime: From its issuance to its end.
        renews_at: When its renewal is due.
    """

    store: Folder | Memory
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
        """The identity in the state folder ``given``, or what ``given`` has become by now.

        Whoever holds one for long holds what it was: it is renewed where it is kept.

        Raises:
            IdentityError: There is none, or what is there cannot be used, and why.
        """
        if isinstance(given, Identity):
            return await asyncio.to_thread(given.as_kept)
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
        store = Folder(folder)
        try:
            texts = store.find()
            if texts is None:
                return None
            try:
                return cls._of(texts, store)
            except IdentityError:
                # Another process may just have swapped cert.pem and key.pem under our eyes.
                return cls._of(store.find() or texts, store)
        except (StateError, OSError) as error:
            raise IdentityError(f"the identity in {folder} cannot be used: {error}") from error

    @classmethod
    def from_pem(
        cls,
        *,
        key: bytes | str,
        certificate: bytes | str,
        trust: bytes | str,
        crl: bytes | str = "",
        ttp: str | None = None,
    ) -> Self:
        """An identity that is kept in memory alone, of what the files of a state folder hold.

        It is renewed, and its CRLs are fetched, where it names a TTP; all in memory.

        Args:
            key: The private key, PEM, not encrypted.
            certificate: The certificate, then the issuing CA's, PEM.
            trust: The root, then the issuing CAs that are trusted, PEM.
            crl: The issuing CAs' CRLs, PEM. Without a current one, its own or fetched from the
                TTP, no peer is let in.
            ttp: Where the TTP listens, ``HOST:PORT``; None: there is none.

        Raises:
            IdentityError: These do not belong together, or one cannot be used, and why.
            ValueError: The TTP's address is none.
        """
        where = _NO_TTP if ttp is None else Address.parse(ttp)
        trusted = _bytes(trust)
        try:
            root = certificates_from_pem(trusted)[0]
        except CertificateError as error:
            raise IdentityError(f"what was given as {TRUST}: {error}") from error
        origin = Origin(ttp=str(where), root_sha256=fingerprint(root).hex(), name="")
        texts = Texts(_bytes(key), _bytes(certificate), trusted, origin)
        return cls._of(texts, Memory(texts, crl=_bytes(crl).decode(errors="replace")))

    @classmethod
    def in_memory(cls, key: PrivateKey, joined: Joined) -> Self:
        """A new identity that is kept in memory alone.

        Raises:
            IdentityError: Key and certificates do not belong together.
        """
        texts = Texts(
            key_to_pem(key), joined.certificate.encode(), joined.trust.encode(), joined.origin
        )
        return cls._of(texts, Memory(texts, crl=joined.crl))

    def as_kept(self) -> Identity:
        """The identity as it is where this one is kept, which may have another by now; blocks.

        Raises:
            IdentityError: What is there cannot be used, and why.
        """
        if isinstance(self.store, Memory):
            return self._of(self.store.find(), self.store)
        return self.load(self.folder)

    @classmethod
    def _of(cls, texts: Texts, store: Folder | Memory) -> Self:
        def read(parse: Callable[[bytes], T], content: bytes, name: str) -> T:
            try:
                return parse(content)
            except CertificateError as error:
                raise IdentityError(f"{store.place(name)}: {error}; {store.advice}") from error

        key = read(key_from_pem, texts.key, KEY)
        leaf, *chain = read(certificates_from_pem, texts.certificate, CERTIFICATE)
        root, *issuing = read(certificates_from_pem, texts.trust, TRUST)
        origin = texts.origin
        try:
            ttp, pin = Address.parse(origin.ttp), bytes.fromhex(origin.root_sha256)
        except ValueError as error:
            raise IdentityError(
                f"{store.place(ORIGIN)} is damaged: {error}; {store.advice}"
            ) from error
        if fingerprint(root) != pin:
            raise IdentityError(
                f"the first certificate in {store.place(TRUST)} is not the root that "
                f"{store.place(ORIGIN)} names; {store.advice}"
            )
        try:
            public_key = judge_public_key(leaf.public_key())
            if key.public_key() != public_key:
                raise IdentityError(
                    f"{store.place(KEY)} is not the key of the certificate in "
                    f"{store.place(CERTIFICATE)}; {store.advice}"
                )
            for certificate, issuer in zip((leaf, *chain), (*chain, root), strict=True):
                check_issued_by(certificate, issuer)
            for certificate in issuing:
                check_issued_by(certificate, root)
            sans, name = sans_of(leaf), identity_name(leaf)
        except (CertificateError, *MALFORMED) as error:
            raise IdentityError(
                f"the certificates in {store} do not lead to the root: {error}; {store.advice}"
            ) from error
        return cls(
            store=store,
            name=name,
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
        return self.authorities[0]

    @property
    def issuing(self) -> tuple[x509.Certificate, ...]:
        """The issuing CAs that are trusted."""
        return self.authorities[1:]

    @property
    def authorities(self) -> tuple[x509.Certificate, ...]:
        """All CAs that are trusted, the root first."""
        return certificates_from_pem(self.trust.encode())

    def trusting(self, issuing: Sequence[x509.Certificate]) -> Self:
        """The same identity, with these issuing CAs trusted under the same root."""
        if set(issuing) == set(self.issuing):
            return self
        return replace(self, trust=to_pem(self.root, *issuing))

    @property
    def has_ttp(self) -> bool:
        """Whether there is a TTP to renew it, and to fetch CRLs from."""
        return self.ttp.port != _NO_TTP.port

    @property
    def folder(self) -> Path:
        """The state folder.

        Raises:
            IdentityError: It is in memory alone.
        """
        if isinstance(self.store, Memory):
            raise IdentityError(f"the identity of {self.name} is in memory alone: it has no folder")
        return self.store.path

    @property
    def key_file(self) -> Path:
        """``key.pem``."""
        return self.folder / KEY

    @property
    def certificate_file(self) -> Path:
        """``cert.pem``: the leaf, then the issuing CA."""
        return self.folder / CERTIFICATE

    @property
    def trust_file(self) -> Path:
        """``ca.pem``: the root and the issuing CAs."""
        return self.folder / TRUST

    @property
    def crl_file(self) -> Path:
        """``crl.pem``: the issuing CA's CRL and the root's."""
        return self.folder / CRL

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
                f"the certificate of {self.name} in {self.store} expired on "
                f"{self.not_after:%Y-%m-%d %H:%M:%S} UTC: join again with a new token "
                f"('asynctls ttp token {self.name}')"
            )

    def __str__(self) -> str:
        return f"{self.name} (serial {self.serial}, until {self.not_after:%Y-%m-%d %H:%M:%S} UTC)"


def store(folder: Path, joined: Joined) -> Identity:
    """Makes ``joined``, with the joining key, the identity in ``folder``; blocks.

    Raises:
        StateError: It cannot be written; the old identity, if any, is as it was.
        IdentityError: What was written does not hold together.
    """
    Folder(folder).store(joined)
    return Identity.load(folder)


def store_renewed(held: Identity, key: PrivateKey, joined: Joined) -> Identity:
    """Makes ``joined`` the identity in the place of ``held``; blocks. Its store must be held.

    Returns:
        What is there then: where another was first, the identity that it put there.

    Raises:
        StateError: It cannot be written; the old identity is as it was.
        IdentityError: What is there cannot be used.
    """
    kept = held.as_kept()
    if kept.certificate != held.certificate:
        return kept
    held.store.store(joined, key, word=f"renewal of {held.serial}")
    return held.as_kept()


def store_trust(identity: Identity, *, crl: str) -> None:
    """Writes the CAs that ``identity`` trusts, and their CRLs (PEM), in one step; blocks.

    Its store must be held. Nothing is written where another identity is there by now.

    Raises:
        StateError: It cannot be written; what was there is as it was.
        IdentityError: What is there cannot be used.
    """
    if identity.as_kept().certificate != identity.certificate:
        return
    leaf, *chain = map(certificate_from_der, (identity.certificate, *identity.chain))
    identity.store.store(
        Joined(
            certificate=to_pem(leaf, *chain),
            trust=identity.trust,
            crl=crl,
            origin=Origin(
                ttp=str(identity.ttp), root_sha256=identity.root_sha256.hex(), name=identity.name
            ),
        )
    )
    identity.as_kept()


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text
