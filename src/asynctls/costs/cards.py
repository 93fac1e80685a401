"""Certificates for people: what a reader wants to know of one, in words (RFC 5280)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from asynctls.costs.report import Card
from asynctls.pki.certificates import certificate_from_der, fingerprint, to_der
from asynctls.pki.keys import judge_public_key, key_type_of
from asynctls.pki.names import common_name_of, format_serial, identity_name, sans_of
from asynctls.words import key_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["cards_of"]

_USES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "to be a TLS server",
    ExtendedKeyUsageOID.CLIENT_AUTH: "to be a TLS client",
}
_KEY_USES = {
    "digital_signature": "to sign",
    "key_cert_sign": "to issue certificates",
    "crl_sign": "to sign CRLs",
}


def cards_of(
    *, client: bytes, server: bytes, authorities: Iterable[x509.Certificate]
) -> tuple[Card, ...]:
    """The cards of the two ends and of who vouches for them.

    Args:
        client: its certificate, DER.
        server: likewise.
        authorities: the CAs' certificates, in the order in which they are shown.

    Raises:
        CertificateError: a key or a name is of no kind that is accepted here.
    """
    return (
        _card("the client's certificate", certificate_from_der(client)),
        _card("the server's certificate", certificate_from_der(server)),
        *(
            _card("the root" if each.subject == each.issuer else "the issuing CA", each)
            for each in authorities
        ),
    )


def _card(title: str, certificate: x509.Certificate) -> Card:
    return Card(title=title, octets=len(to_der(certificate)), lines=dict(_lines(certificate)))


def _lines(certificate: x509.Certificate) -> Iterator[tuple[str, str]]:
    yield "name", identity_name(certificate)
    if sans := sans_of(certificate):
        yield "names", ", ".join(sans)
    yield "issued by", common_name_of(certificate.issuer) or "no name"
    yield "serial number", format_serial(certificate.serial_number)
    yield "valid from", f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC"
    yield "valid until", f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC"
    key_type = key_type_of(judge_public_key(certificate.public_key()))
    yield "public key", key_words(key_type)
    algorithm = certificate.signature_hash_algorithm
    signature = len(certificate.signature)
    yield (
        "signature",
        f"{algorithm.name.upper() if algorithm else ''}, {signature} bytes".strip(" ,"),
    )
    if uses := tuple(_uses(certificate)):
        yield "good for", ", ".join(uses)
    yield "SHA-256", fingerprint(certificate).hex()


def _uses(certificate: x509.Certificate) -> Iterator[str]:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        yield from (words for name, words in _KEY_USES.items() if getattr(usage, name))
    except x509.ExtensionNotFound:
        pass
    try:
        extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        yield from (_USES[each] for each in extended if each in _USES)
    except x509.ExtensionNotFound:
        pass
