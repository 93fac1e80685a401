"""TLS contexts with one meaning each: TLS 1.2, ECDHE with AES-GCM, strict X.509 verification.

Little here is left to the standard library's defaults, for these differ from one Python to the
next (`ssl.create_default_context` changed its flags in 3.13). Protocol: RFC 5246; cipher suites:
RFC 5289; what not to offer: RFC 9325. A context is built off the loop (files are read here),
tried by `try_out`, and never changed once it is in use.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Literal

from asynctls.errors import CertificateError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from asynctls.mac import Secret

__all__ = [
    "CIPHERS",
    "ClientCertificate",
    "bootstrap_context",
    "client_context",
    "client_context_for_any_host",
    "server_context",
    "try_out",
]

CIPHERS = "ECDHE+AESGCM"
"""The cipher suites offered and taken, in OpenSSL's notation."""

ClientCertificate = Literal[ssl.VerifyMode.CERT_REQUIRED, ssl.VerifyMode.CERT_OPTIONAL]
"""Whether a client must show a certificate; one that is shown is verified either way."""

# 112 bits or more everywhere, whatever the distribution's default is.
_SECURITY_LEVEL = 2
_MAX_FLIGHTS = 8


def server_context(
    *,
    chain: Path,
    key: Path,
    trust: str,
    client_certificate: ClientCertificate = ssl.CERT_REQUIRED,
    alpn: Sequence[str] = (),
    key_passphrase: Secret | None = None,
) -> ssl.SSLContext:
    """A server's context.

    Args:
        chain: PEM file with the leaf and then its issuing CA, so that OpenSSL need not build and
            verify our own chain in each handshake.
        key: PEM file with the leaf's private key.
        trust: PEM of the root and of every issuing CA; the latter because clients often send
            their leaf alone, which would then be refused as of an unknown CA.
        client_certificate: whether a client must show one.
        alpn: protocols offered (RFC 7301), the preferred first. OpenSSL goes on without ALPN
            when a client offers others only: `admit` is who refuses it.
        key_passphrase: what the key is encrypted with, if it is.

    Raises:
        CertificateError: a file cannot be read, is no PEM, or key and certificate do not match.
    """
    context = _bare(ssl.PROTOCOL_TLS_SERVER)
    _load_identity(context, chain, key, key_passphrase)
    _load_trust(context, trust)
    context.verify_mode = client_certificate
    _offer(context, alpn)
    return context


def client_context(
    *,
    trust: str,
    chain: Path | None = None,
    key: Path | None = None,
    alpn: Sequence[str] = (),
) -> ssl.SSLContext:
    """A client's context that also verifies the server's host name (RFC 9525), by SAN alone.

    Args:
        trust: PEM of the root and of every issuing CA.
        chain: PEM file with the leaf and then its issuing CA; None: show no certificate.
        key: PEM file with the leaf's private key.
        alpn: protocols offered (RFC 7301), the preferred first.

    Raises:
        CertificateError: a file cannot be read, is no PEM, or key and certificate do not match.
    """
    context = client_context_for_any_host(trust=trust, chain=chain, key=key, alpn=alpn)
    context.check_hostname = True
    context.hostname_checks_common_name = False
    return context


def client_context_for_any_host(
    *,
    trust: str,
    chain: Path | None = None,
    key: Path | None = None,
    alpn: Sequence[str] = (),
) -> ssl.SSLContext:
    """A client's context that verifies the chain, and leaves the name to `admit`.

    For servers known by a URI name, which OpenSSL does not match, and for tools that report the
    name that they find. Arguments and errors are those of `client_context`.
    """
    context = _bare(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if chain is not None and key is not None:
        _load_identity(context, chain, key)
    _load_trust(context, trust)
    context.verify_mode = ssl.CERT_REQUIRED
    _offer(context, alpn)
    return context


def bootstrap_context() -> ssl.SSLContext:
    """A client's context that verifies nothing, for the one question that needs no trust.

    That is the first ``/cacerts`` (RFC 7030, section 4.1.1), whose answer is held against a pinned
    fingerprint. It shows no certificate, and no secret may ever go over it.
    """
    context = _bare(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def try_out(context: ssl.SSLContext) -> None:
    """Try a server's context in memory before it is put into service.

    The server's first flight is made, the key signs, and a client without a certificate of its own
    verifies that signature and the chain, against the very CAs that the context trusts, for no
    particular host. What comes after needs a client's certificate and is not tried.

    Raises:
        CertificateError: no client that trusts the same CAs would take what the server sends.
    """
    client = client_context_for_any_host(
        trust="".join(map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(binary_form=True)))
    )
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    serving = context.wrap_bio(to_server, to_client, server_side=True)
    asking = client.wrap_bio(to_client, to_server, server_side=False)
    for _ in range(_MAX_FLIGHTS):
        for half in (asking, serving):
            try:
                half.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                raise CertificateError(
                    f"no client would take this server's certificate: {error.verify_message}"
                ) from error
            except ssl.SSLError as error:
                if half is serving and error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
                    return
                raise CertificateError(
                    f"a handshake with this server's context failed: {error.reason or error}"
                ) from error
            if half is serving:
                return
    raise CertificateError("a handshake with this server's context did not come to an end")


def _bare(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{CIPHERS}:@SECLEVEL={_SECURITY_LEVEL}")
    # OP_ALL are work-arounds for other programs' bugs; to ignore an EOF would hide a truncation.
    context.options &= ~(ssl.OP_ALL | getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0))
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.verify_flags = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_TRUSTED_FIRST
    return context


def _load_identity(
    context: ssl.SSLContext, chain: Path, key: Path, passphrase: Secret | None = None
) -> None:
    # Without a password OpenSSL would ask the terminal for that of an encrypted key.
    password = _no_password if passphrase is None else passphrase.reveal
    try:
        context.load_cert_chain(chain, key, password=password)
    except ssl.SSLError as error:
        what = (error.reason or str(error)).lower().replace("_", " ")
        raise CertificateError(f"{chain} and {key} cannot be used together: {what}") from error
    except OSError as error:
        raise CertificateError(
            f"{chain} or {key} cannot be read: {error.strerror or error}"
        ) from error


def _no_password() -> str:
    raise CertificateError("the private key is encrypted, and no password for it is kept")


def _load_trust(context: ssl.SSLContext, trust: str) -> None:
    try:
        context.load_verify_locations(cadata=trust)
    except (ssl.SSLError, ValueError) as error:
        raise CertificateError(f"the CA certificates cannot be used: {error}") from error


def _offer(context: ssl.SSLContext, alpn: Sequence[str]) -> None:
    if alpn:
        context.set_alpn_protocols(list(alpn))
