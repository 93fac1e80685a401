"""Certificate requests (PKCS#10, RFC 2986): made by roles, read and judged by the TTP.

A request proves that its sender holds the private key, and asks; what it gets is its grant's and
its profile's business. So only what policy must compare is read out, what is merely ignored is
named for the log, and what no profile would ever give is refused here. Whatever a stranger sends,
it ends in a `Request` or in a `RequestError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import AttributeOID, ExtensionOID, NameOID

from asynctls.errors import CertificateError, RequestError
from asynctls.pki.keys import (
    KeyType,
    PrivateKey,
    PublicKey,
    accepted,
    key_type_of,
    spki_sha256,
)
from asynctls.pki.malformed import MALFORMED
from asynctls.pki.names import format_san, parse_san

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["KEY_USAGES", "MAX_REQUEST_BYTES", "Request", "build_request", "read_request"]

MAX_REQUEST_BYTES = 16 * 1024

KEY_USAGES = frozenset(
    {
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    }
)
"""The key usages (RFC 5280, section 4.2.1.3), as `cryptography` calls them."""

_EXTENSION_NAMES = {
    ExtensionOID.SUBJECT_KEY_IDENTIFIER: "subjectKeyIdentifier",
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: "authorityKeyIdentifier",
    ExtensionOID.CERTIFICATE_POLICIES: "certificatePolicies",
    ExtensionOID.NAME_CONSTRAINTS: "nameConstraints",
    ExtensionOID.CRL_DISTRIBUTION_POINTS: "cRLDistributionPoints",
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS: "authorityInfoAccess",
    ExtensionOID.OCSP_NO_CHECK: "ocsp-nocheck",
    ExtensionOID.TLS_FEATURE: "tlsfeature",
}


class Request(msgspec.Struct, frozen=True):
    """What a request says, its proof of possession checked.

    `spki_sha256` is the key's fingerprint. `sans` is the text of `names.sans_of`: a kind of name
    that nobody is granted is in quotes there. `key_usages` and `extended_key_usages` are what it
    asks for, for policy to hold against the profile; `ignored` names all else that it asked for in
    vain, for the log. `challenge_password` (RFC 2985, section 5.4.1) is what EST links a request
    to its connection by.
    """

    public_key: PublicKey
    spki_sha256: bytes
    key_type: KeyType
    common_name: str | None
    sans: tuple[str, ...]
    key_usages: frozenset[str]
    extended_key_usages: tuple[x509.ObjectIdentifier, ...]
    ignored: tuple[str, ...]
    challenge_password: str | None = None

    def __repr__(self) -> str:
        # Neither what a connection is known by nor all of a stranger's words belong in a log.
        return f"Request(spki_sha256={self.spki_sha256.hex()}, sans={self.sans!r})"


def build_request(
    key: PrivateKey, *, sans: Sequence[str] = (), challenge_password: str | None = None
) -> bytes:
    """Make a request (DER) for a key; without names the grant alone says whom it is for.

    Args:
        key: what the certificate is to be for.
        sans: the names that are asked for, as text.
        challenge_password: the attribute of that name (RFC 2985, section 5.4.1); None: without.

    Raises:
        CertificateError: one of `sans` is no name.
    """
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if sans:
        # Critical as in the certificate that will come of it: the subject is empty.
        names = x509.SubjectAlternativeName([parse_san(san) for san in sans])
        builder = builder.add_extension(names, critical=True)
    if challenge_password is not None:
        builder = builder.add_attribute(
            AttributeOID.CHALLENGE_PASSWORD, challenge_password.encode()
        )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def read_request(der: bytes) -> Request:
    """Read and judge a request; its signature is checked (proof of possession).

    Raises:
        RequestError: longer than `MAX_REQUEST_BYTES`, malformed, of a key that is weak or of
            another kind, with a signature that its key did not make, or asking for a CA's powers.
    """
    if len(der) > MAX_REQUEST_BYTES:
        raise RequestError(
            f"the request has {len(der)} bytes; {MAX_REQUEST_BYTES} are the most that is read"
        )
    try:
        return _read(der)
    except RequestError:
        raise
    except CertificateError as error:
        raise RequestError(f"the request cannot be accepted: {error}") from error
    except (*MALFORMED, InvalidSignature) as error:
        raise RequestError(
            "the request is no well-formed PKCS#10 request in DER (RFC 2986)"
        ) from error


def _read(der: bytes) -> Request:
    csr = x509.load_der_x509_csr(der)
    public_key = accepted(csr.public_key())
    key_type = key_type_of(public_key)
    if not csr.is_signature_valid:
        raise RequestError("the request is not signed by the key that it is for")
    common_name, ignored = _read_subject(csr.subject)
    sans: tuple[str, ...] = ()
    key_usages: frozenset[str] = frozenset()
    extended_key_usages: tuple[x509.ObjectIdentifier, ...] = ()
    for extension in csr.extensions:
        value = extension.value
        match value:
            case x509.SubjectAlternativeName():
                sans = tuple(map(format_san, value))
            case x509.KeyUsage():
                key_usages = _usages_of(value)
            case x509.ExtendedKeyUsage():
                extended_key_usages = tuple(value)
            case x509.BasicConstraints():
                if value.ca:
                    raise RequestError("the request asks for a CA certificate; none is given")
            case _:
                ignored.append(_extension_name(extension.oid))
    asked = key_usages & {"key_cert_sign", "crl_sign"}
    if asked:
        raise RequestError("the request asks to sign certificates or CRLs; only a CA does")
    return Request(
        public_key=public_key,
        spki_sha256=spki_sha256(public_key),
        key_type=key_type,
        common_name=common_name,
        sans=sans,
        key_usages=key_usages,
        extended_key_usages=extended_key_usages,
        ignored=tuple(ignored),
        challenge_password=_read_challenge_password(csr.attributes),
    )


def _read_challenge_password(attributes: x509.Attributes) -> str | None:
    try:
        value = attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value
    except x509.AttributeNotFound:
        return None
    # A DirectoryString; what is in none of its usual kinds is UTF-8 or nothing that anyone linked.
    return value.decode(errors="replace")


def _read_subject(subject: x509.Name) -> tuple[str | None, list[str]]:
    common_names = []
    ignored = []
    for attribute in subject:
        if attribute.oid == NameOID.COMMON_NAME:
            common_names.append(attribute.value)
        else:
            ignored.append(f"subject {attribute.rfc4514_attribute_name}")
    if len(common_names) > 1:
        raise RequestError("the request has more than one common name; one holder has one name")
    common_name = common_names[0] if common_names else None
    if common_name is not None and not (isinstance(common_name, str) and common_name.isprintable()):
        raise RequestError("the request's common name is no printable text")
    return common_name, ignored


def _usages_of(value: x509.KeyUsage) -> frozenset[str]:
    names = KEY_USAGES
    if not value.key_agreement:
        # These two mean something, and may be read, only beside key agreement.
        names = names - {"encipher_only", "decipher_only"}
    return frozenset(name for name in names if getattr(value, name))


def _extension_name(oid: x509.ObjectIdentifier) -> str:
    return _EXTENSION_NAMES.get(oid, oid.dotted_string)
