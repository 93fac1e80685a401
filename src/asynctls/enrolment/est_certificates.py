"""The certs-only bodies of EST (RFC 7030, section 4.1.3): certificates in a degenerate PKCS#7.

Apart from `est_codec`, since reading PKCS#7 imports the whole of `email`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from asynctls.enrolment.est_codec import decode, encode
from asynctls.errors import CertificateError
from asynctls.pki.malformed import MALFORMED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

__all__ = ["decode_certificates", "encode_certificates"]


def encode_certificates(certificates: Sequence[x509.Certificate]) -> bytes:
    """A certs-only body."""
    return encode(pkcs7.serialize_certificates(list(certificates), Encoding.DER))


def decode_certificates(body: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a certs-only body, in its order; nothing is verified.

    Raises:
        CertificateError: It is no such body.
    """
    try:
        return tuple(pkcs7.load_der_pkcs7_certificates(decode(body)))
    except MALFORMED as error:
        raise CertificateError("the answer holds no certificates (PKCS#7, base64)") from error
