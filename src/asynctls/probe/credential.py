"""A certificate with its key, made for an attack: in memory alone, and gone with it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from asynctls.enrolment.memory import readable_once
from asynctls.pki.certificates import to_der, to_pem
from asynctls.pki.keys import KeyType, generate_now, key_to_pem
from asynctls.pki.names import parse_san
from asynctls.pki.profiles import Issuer, Profile, issue, make_issuing, make_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from asynctls.pki.keys import PrivateKey

__all__ = ["Credential"]

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Credential:
    """What somebody shows, and proves to be theirs.

    Attributes:
        key: the private key.
        chain: the certificate, then its issuing CA's.
    """

    key: PrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...]

    @classmethod
    def self_signed(cls, sans: Sequence[str] = ("localhost",)) -> Self:
        """What anybody can make at home: a certificate that is its own issuer. Blocks shortly.

        Raises:
            CertificateError: one of the names is none.
        """
        now = datetime.now(UTC)
        key = generate_now(KeyType.ECDSA_P256)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "asynctls probe")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _HOUR)
            .not_valid_after(now + _HOUR)
            .add_extension(x509.SubjectAlternativeName(map(parse_san, sans)), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )
        return cls(key, (builder.sign(key, hashes.SHA256()),))

    @classmethod
    def of_another_ca(cls, sans: Sequence[str], profile: Profile) -> Self:
        """One for these names by a CA that nobody has heard of. Blocks shortly.

        Raises:
            CertificateError: one of them is none.
        """
        now = datetime.now(UTC)
        root_key, issuing_key, key = (generate_now(KeyType.ECDSA_P256) for _ in range(3))
        root = Issuer(make_root(root_key, lifetime=_HOUR, now=now), root_key)
        issuing = Issuer(
            make_issuing(issuing_key.public_key(), issuer=root, lifetime=_HOUR, now=now),
            issuing_key,
        )
        certificate = issue(
            profile,
            issuer=issuing,
            public_key=key.public_key(),
            sans=sans,
            lifetime=_HOUR,
            now=now,
        )
        return cls(key, (certificate, issuing.certificate))

    @property
    def certificate(self) -> bytes:
        """The certificate, DER."""
        return to_der(self.chain[0])

    @property
    def serial_number(self) -> int:
        """The certificate's."""
        return self.chain[0].serial_number

    @contextmanager
    def loadable(self) -> Iterator[tuple[Path, Path]]:
        """What OpenSSL loads, once, while the context lasts: chain and key."""
        chain, key = to_pem(*self.chain).encode(), key_to_pem(self.key)
        with readable_once(chain) as chain_file, readable_once(key) as key_file:
            yield chain_file, key_file
