"""Pins: a public key by its SHA-256, in the form that people know from curl's `--pinnedpubkey`.

What is hashed is the SubjectPublicKeyInfo in DER (RFC 7469, section 2.4), so that a pin outlives
the certificates of its key, and ends with the key.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Self

import msgspec

from asynctls.errors import CertificateError
from asynctls.pki.keys import spki_sha256

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["Pin"]

_PREFIX = "sha256//"
_DIGEST_BYTES = 32


class Pin(msgspec.Struct, frozen=True):
    """One public key, by the SHA-256 of its SubjectPublicKeyInfo; the text is `sha256//BASE64`."""

    spki_sha256: bytes

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        """The pin of a certificate's key.

        Raises:
            UnsupportedAlgorithm, ValueError: the key cannot be read.
        """
        return cls(spki_sha256(certificate.public_key()))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pin.

        Raises:
            CertificateError: it is none, and how to get one.
        """
        try:
            digest = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            digest = b""
        if not cls.is_meant(text) or len(digest) != _DIGEST_BYTES:
            raise CertificateError(
                f"{text!r} is no pin: that is {_PREFIX} and 32 bytes in base64, as 'asynctls "
                "identity' prints it"
            )
        return cls(digest)

    @staticmethod
    def is_meant(text: str) -> bool:
        """Whether a text is to be a pin, which no name can be taken for."""
        return text.startswith(_PREFIX)

    def __str__(self) -> str:
        return _PREFIX + base64.b64encode(self.spki_sha256).decode("ascii")
