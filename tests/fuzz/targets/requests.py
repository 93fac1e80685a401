"""Certificate requests (`pki.requests`): a `Request` of printable words, or refused."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID
from msgspec.structs import replace

from asynctls.errors import RequestError
from asynctls.pki.names import NameKind, canonical_name, kind_of
from asynctls.pki.requests import MAX_REQUEST_BYTES, build_request, read_request
from tests.fuzz.world import HOLDER_KEY, body_of, signed_anew, tlv

_DER: Final = serialization.Encoding.DER


def run(data: bytes) -> bool:
    """A request, and what a request is signed over."""
    return any([_taken(der) for der in (data, signed_anew(data, HOLDER_KEY, hashes.SHA256))])


def _taken(der: bytes) -> bool:
    try:
        request = read_request(der)
    except RequestError as error:
        assert str(error).isprintable()
        return False
    assert len(der) <= MAX_REQUEST_BYTES
    for text in (request.common_name or "", *request.sans, *request.ignored):
        assert text.isprintable(), "a log would not be one line"
    for san in request.sans:
        assert kind_of(san) is NameKind.OTHER or canonical_name(san) == san
    assert repr(request) == repr(replace(request, challenge_password=None))
    return True


def seeds() -> dict[str, bytes]:
    """With all that a request can have, and with names of every kind."""
    every = x509.SubjectAlternativeName(
        [
            x509.DNSName("server.example"),
            x509.UniformResourceIdentifier("spiffe://td/server"),
            x509.RFC822Name("someone@example.org"),
            x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
            x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])),
            x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x0c\x01a"),
        ]
    )
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "server"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
        ]
    )
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=True,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=True,
        decipher_only=False,
    )
    full = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(every, critical=False)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"linked")
        .sign(HOLDER_KEY, hashes.SHA256())
        .public_bytes(_DER)
    )
    plain = build_request(HOLDER_KEY, sans=["server", "10.0.0.1", "::1"], challenge_password="x")
    # x400Address, which the library reads of no certificate.
    odd = body_of(full).replace(b"\x82\x0eserver.example", b"\xa3\x0eserver.example")
    return {
        "plain": plain,
        "full": full,
        "body": body_of(full),
        "no-odd-name": odd,
        "no-signature": plain[:-4] + bytes(4),
        "no-request": tlv(0x30, b""),
    }
