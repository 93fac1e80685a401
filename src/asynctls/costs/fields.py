"""What is in a handshake message, for people: read off its bytes, as anybody on the way can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.x509.oid import SignatureAlgorithmOID

from asynctls.errors import CertificateError
from asynctls.pki.certificates import certificate_from_der, check_issued_by, to_der
from asynctls.pki.names import identity_name
from asynctls.tls.hellos import SIGNALS, ClientHello, ServerHello

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cryptography import x509

    from asynctls.tls.messages import TLSMessage

__all__ = ["SIGNED_WITH", "fields_of"]

SIGNED_WITH = "signed with"
"""The field of a Certificate message with the algorithms of the signatures that are verified."""

# RFC 8422, section 5.1.1; RFC 8446, section 4.2.3; RFC 5289.
_CURVES = {23: "P-256", 24: "P-384", 25: "P-521", 29: "X25519", 30: "X448"}
_SCHEMES = {
    0x0401: "RSA PKCS#1 v1.5, SHA-256",
    0x0501: "RSA PKCS#1 v1.5, SHA-384",
    0x0601: "RSA PKCS#1 v1.5, SHA-512",
    0x0403: "ECDSA P-256, SHA-256",
    0x0503: "ECDSA P-384, SHA-384",
    0x0603: "ECDSA P-521, SHA-512",
    0x0804: "RSA-PSS, SHA-256",
    0x0805: "RSA-PSS, SHA-384",
    0x0806: "RSA-PSS, SHA-512",
    0x0809: "RSA-PSS (PSS key), SHA-256",
    0x080A: "RSA-PSS (PSS key), SHA-384",
    0x080B: "RSA-PSS (PSS key), SHA-512",
}
_ECDSA = (
    SignatureAlgorithmOID.ECDSA_WITH_SHA256,
    SignatureAlgorithmOID.ECDSA_WITH_SHA384,
    SignatureAlgorithmOID.ECDSA_WITH_SHA512,
)
_SUITES = {
    0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256",
    0xC02C: "ECDHE-ECDSA-AES256-GCM-SHA384",
    0xC02F: "ECDHE-RSA-AES128-GCM-SHA256",
    0xC030: "ECDHE-RSA-AES256-GCM-SHA384",
}


def fields_of(message: TLSMessage) -> dict[str, str]:
    """What a reader wants to know of a message; of what is encrypted, nothing."""
    read = _READERS.get(message.name)
    if message.encrypted or read is None:
        return {}
    return read(message.body)


def _shown_in(body: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a Certificate message (RFC 5246, section 7.4.2), the leaf first."""
    found = []
    at = 3
    while at + 3 < len(body):
        size = int.from_bytes(body[at : at + 3])
        try:
            found.append(certificate_from_der(body[at + 3 : at + 3 + size]))
        except CertificateError:
            break
        at += 3 + size
    return tuple(found)


def _chain_of(shown: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """From the leaf to the last issuer that is shown; a server may show what leads nowhere."""
    chain, others = list(shown[:1]), list(shown[1:])
    while issuer := next((each for each in others if _issued_by(chain[-1], each)), None):
        chain.append(issuer)
        others.remove(issuer)
    return chain


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        check_issued_by(certificate, issuer)
    except CertificateError:
        return False
    return True


def _name_of(certificate: x509.Certificate) -> str:
    try:
        return identity_name(certificate)
    except CertificateError:
        # A server may add to its chain what nobody needs and nobody verifies.
        return "a name that cannot be read"


def _client_hello(body: bytes) -> dict[str, str]:
    hello = ClientHello.read(body)
    if hello is None:
        return {}
    suites = sum(each not in SIGNALS for each in hello.cipher_suites)
    return {
        "versions": ", ".join(hello.versions),
        "cipher suites": f"{suites} offered",
        "random": "32 bytes",
        "protocols (ALPN)": ", ".join(hello.alpn) or "none",
        "extended master secret": "yes" if hello.extended_master_secret else "no",
        "session to resume": "offered" if _offers_a_session(body) else "none",
    }


def _offers_a_session(body: bytes) -> bool:
    # With a ticket the client makes up a session id to recognise the answer by (RFC 5077, 3.4).
    return body[34] > 0


def _server_hello(body: bytes) -> dict[str, str]:
    hello = ServerHello.read(body)
    if hello is None:
        return {}
    return {
        "version": hello.version,
        "cipher suite": _SUITES.get(hello.cipher_suite, f"{hello.cipher_suite:#06x}"),
        "random": "32 bytes",
        "protocol (ALPN)": hello.alpn or "none",
        "extended master secret": "yes" if hello.extended_master_secret else "no",
    }


def _certificate(body: bytes) -> dict[str, str]:
    shown = _shown_in(body)
    fields = {"certificates": str(len(shown))}
    if shown:
        chain = _chain_of(shown)
        fields["chain"] = ", issued by ".join(map(_name_of, chain))
        if besides := [each for each in shown if each not in chain]:
            fields["besides"] = ", ".join(map(_name_of, besides))
        # A root is trusted as it is: its signature on itself is nothing to anybody.
        if signed := [each for each in chain if not _issued_by(each, each)]:
            fields[SIGNED_WITH] = ", ".join(map(_algorithm, signed))
        fields["lengths"] = ", ".join(f"{len(to_der(each))} bytes" for each in shown)
    return fields


def _algorithm(certificate: x509.Certificate) -> str:
    """Of the signature on it, by its issuer."""
    return "ECDSA" if certificate.signature_algorithm_oid in _ECDSA else "RSA"


def _certificate_request(body: bytes) -> dict[str, str]:
    kinds = body[0] if body else 0
    at = 1 + kinds
    schemes = int.from_bytes(body[at : at + 2]) // 2
    names = int.from_bytes(body[at + 2 + 2 * schemes :][:2])
    return {
        "signature algorithms": f"{schemes} accepted",
        "accepted CAs": f"{names} bytes of names",
    }


def _server_key_exchange(body: bytes) -> dict[str, str]:
    if len(body) < 4 or body[0] != 3:  # named_curve
        return {}
    point = body[3]
    signed = body[4 + point :]
    return {
        "curve": _curve(body[1:3]),
        "public key": f"{point} bytes",
        **_signature(signed),
    }


def _client_key_exchange(body: bytes) -> dict[str, str]:
    return {"public key": f"{body[0]} bytes"} if body else {}


def _signature(signed: bytes) -> dict[str, str]:
    """RFC 5246, section 4.7: the algorithm, and the signature behind its length."""
    scheme = int.from_bytes(signed[:2])
    return {
        "signature": f"{int.from_bytes(signed[2:4])} bytes",
        "algorithm": _SCHEMES.get(scheme, f"{scheme:#06x}"),
    }


def _ticket(body: bytes) -> dict[str, str]:
    """RFC 5077, section 3.3."""
    return {
        "lifetime hint": f"{int.from_bytes(body[:4])} s",
        "ticket": f"{int.from_bytes(body[4:6])} bytes, encrypted by the server for itself",
    }


def _curve(number: bytes) -> str:
    return _CURVES.get(int.from_bytes(number), f"{int.from_bytes(number):#06x}")


_READERS: Mapping[str, Callable[[bytes], dict[str, str]]] = {
    "ClientHello": _client_hello,
    "ServerHello": _server_hello,
    "Certificate": _certificate,
    "CertificateRequest": _certificate_request,
    "ServerKeyExchange": _server_key_exchange,
    "ClientKeyExchange": _client_key_exchange,
    "CertificateVerify": _signature,
    "NewSessionTicket": _ticket,
}
