"""What EST puts on the wire (RFC 7030, clarified by RFC 8951): paths, media types, bodies.

Both halves share it, the TTP's server and the roles' client. A body is base64 of DER without line
breaks: RFC 8951 (section 3.1) lets readers ignore white space, but strongSwan's takes none.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from typing import TYPE_CHECKING

from asynctls.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ATTRIBUTES_TYPE",
    "CACERTS",
    "CERTIFICATES_TYPE",
    "CRL",
    "CRL_TYPE",
    "CSRATTRS",
    "HEALTH",
    "OCSP",
    "REQUEST_TYPE",
    "ROOT_CRL",
    "SIMPLE_ENROLL",
    "SIMPLE_REENROLL",
    "ca_path",
    "ca_tag",
    "crl_path",
    "crl_tag",
    "decode",
    "decode_request",
    "encode",
    "linked_to",
]

_PREFIX = "/.well-known/est"
CACERTS = f"{_PREFIX}/cacerts"
CSRATTRS = f"{_PREFIX}/csrattrs"
SIMPLE_ENROLL = f"{_PREFIX}/simpleenroll"
SIMPLE_REENROLL = f"{_PREFIX}/simplereenroll"
CRL = "/crl"
ROOT_CRL = "/crl/root"
OCSP = "/ocsp"
HEALTH = "/healthz"

REQUEST_TYPE = "application/pkcs10"
CERTIFICATES_TYPE = "application/pkcs7-mime"
ATTRIBUTES_TYPE = "application/csrattrs"
CRL_TYPE = "application/pkix-crl"
"""RFC 2585, section 4.2: the body is DER as it stands."""

_WHITE_SPACE = b" \t\r\n"
_TAG_BYTES = 32


def ca_path(key_id: str) -> str:
    """Where the certificate of the CA with that key identifier is, in DER."""
    return f"/ca/{key_id}"


def ca_tag(certificates: Iterable[bytes]) -> str:
    """The entity tag of /cacerts (RFC 9110, section 8.8.3), out of the certificates in it, in DER.

    Whoever has the same ones has all of it, and all TTPs of one ledger say the same: their order is
    that of a SET OF in DER (X.690, 11.6), whoever issues now.
    """
    return f'"{sha256(b"".join(sorted(certificates))).hexdigest()}"'


def crl_path(key_id: str) -> str:
    """Where the CRL of the issuing CA with that key identifier is (lower-case hex)."""
    return f"{CRL}/{key_id}"


def crl_tag(der: bytes) -> str:
    """The entity tag of a CRL (RFC 9110, section 8.8.3): the end of its signature."""
    return f'"{der[-_TAG_BYTES:].hex()}"'


def encode(der: bytes) -> bytes:
    """A body: base64 on one line."""
    return base64.b64encode(der)


def decode(body: bytes) -> bytes:
    """What a body holds.

    Raises:
        ValueError: It is not base64.
    """
    try:
        return base64.b64decode(body.translate(None, _WHITE_SPACE), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def linked_to(tls_unique: bytes) -> str:
    """The challengePassword that binds a request to its connection (RFC 7030, section 3.5)."""
    return base64.b64encode(tls_unique).decode()


def decode_request(body: bytes) -> bytes:
    """The DER of a CSR as it is posted to /simpleenroll; nothing is verified.

    Raises:
        RequestError: It is not base64.
    """
    try:
        return decode(body)
    except ValueError as error:
        raise RequestError("the body is not a request in base64 (RFC 8951, section 3.1)") from error
