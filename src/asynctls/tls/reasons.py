"""Why a handshake or a connection failed, in words for a person.

OpenSSL names a failure by a constant and drops the peer's certificate; what the scanners of
`records` read off the plaintext handshake makes a sentence of it. Alerts: RFC 5246, section 7.2.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asynctls.alerts import Alert
from asynctls.errors import (
    CertificateError,
    HandshakeError,
    PeerRefusedError,
    RefusedByPeerError,
    TruncatedError,
)
from asynctls.pki.certificates import certificate_from_der
from asynctls.pki.malformed import MALFORMED
from asynctls.pki.names import sans_of
from asynctls.tls.records import HandshakeType

if TYPE_CHECKING:
    from cryptography import x509

    from asynctls.tls.records import Scanner

__all__ = ["explain_failure", "explain_handshake", "explain_silence", "is_damage"]

_WORDS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it showed no certificate, and one is required",
    "NO_SHARED_CIPHER": (
        "it offers none of the cipher suites used here (ECDHE with AES-GCM), or no curve or "
        "signature algorithm for them"
    ),
    "WRONG_CIPHER_RETURNED": "it chose a cipher suite that was not offered",
    "UNKNOWN_CIPHER_RETURNED": "it chose a cipher suite that was not offered",
    "BAD_SIGNATURE": (
        "it does not hold the private key of the certificate that it showed, or the handshake was "
        "altered on the way"
    ),
    "DECRYPT_ERROR": "its Finished message does not match the handshake",
    "DIGEST_CHECK_FAILED": "its Finished message does not match the handshake",
    "EE_KEY_TOO_SMALL": "its certificate's key is too small",
    "CA_KEY_TOO_SMALL": "the key of a CA in its chain is too small",
    "INAPPROPRIATE_FALLBACK": "it fell back to an older protocol version (RFC 7507)",
}
_VERSION_REASONS = (
    "UNSUPPORTED_PROTOCOL",
    "VERSION_TOO_LOW",
    "VERSION_TOO_HIGH",
    "WRONG_SSL_VERSION",
    "UNKNOWN_PROTOCOL",
)
_HTTP_METHODS = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"CONNECT ", b"PRI ", b"HTTP")


def explain_handshake(
    error: ssl.SSLError, *, received: Scanner, sent: Scanner, server_hostname: str | None
) -> HandshakeError:
    """Turn OpenSSL's error in a handshake into ours.

    Args:
        error: what OpenSSL raised; the alert for the peer, if any, has gone through `sent`.
        received: the peer's direction.
        sent: our direction.
        server_hostname: the host that a client asked for.
    """
    ours = _alert(sent.fatal_alert)
    if ours is not None:
        reason = _refusal(error, received, server_hostname)
        return PeerRefusedError(ours, reason, certificate=received.certificate)
    theirs = _alert_told(error, received)
    if theirs is not None:
        alert = _alert(theirs)
        words = f"{alert.words} (alert {theirs})" if alert is not None else f"alert {theirs}"
        return RefusedByPeerError(
            f"the peer refused the handshake: {words}",
            alert=alert,
            certificate=received.certificate,
        )
    if isinstance(error, ssl.SSLZeroReturnError | ssl.SSLEOFError | ssl.SSLSyscallError):
        return explain_silence(received, sent)
    return HandshakeError(f"the handshake failed: {_refusal(error, received, server_hostname)}")


def explain_silence(received: Scanner, sent: Scanner) -> HandshakeError:
    """The error for a peer that closed the connection in the middle of a handshake."""
    if not received.opening:
        heard = "without having said anything"
    elif received.lost:
        heard = f"having sent what is not TLS{_guess(received.opening)}"
    elif received.encrypted:
        heard = "before its Finished message had come"
    elif received.last_message is None:
        heard = "in the middle of its first message"
    else:
        heard = f"after its {_title(received.last_message)}"
    hint = ""
    if sent.encrypted and received.server_hello is not None:
        hint = "; it may have refused our certificate without an alert that says why"
    return HandshakeError(f"the peer closed the connection during the handshake, {heard}{hint}")


def explain_failure(error: ssl.SSLError) -> TruncatedError:
    """The error for a connection that failed after its handshake."""
    number = _alert_by_name(error.reason)
    if number is not None:
        alert = _alert(number)
        words = alert.words if alert is not None else "unknown"
        return TruncatedError(
            f"the peer ended the connection by an alert: {words} ({number})", alert=alert
        )
    if error.reason == "APPLICATION_DATA_AFTER_CLOSE_NOTIFY":
        return TruncatedError("the peer was still sending when the connection was closed")
    if is_damage(error):
        return TruncatedError(
            "the connection was damaged or tampered with on the way "
            f"({_plain(error)}), and was ended"
        )
    return TruncatedError(f"the connection failed: {_plain(error)}")


def is_damage(error: ssl.SSLError) -> bool:
    """Whether a record was not what the peer sent: its MAC does not verify (RFC 5246, 6.2.3.3)."""
    return error.reason in ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "BAD_RECORD_TYPE")


def _refusal(error: ssl.SSLError, received: Scanner, server_hostname: str | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_refusal(error, received.certificate, server_hostname)
    reason = error.reason or ""
    if received.lost or reason in ("HTTP_REQUEST", "HTTPS_PROXY_REQUEST"):
        return f"what it sends is not TLS{_guess(received.opening)}"
    if reason in _VERSION_REASONS:
        return _version_refusal(received)
    return _WORDS.get(reason) or _plain(error)


def _version_refusal(received: Scanner) -> str:
    if received.client_hello is not None:
        versions = received.client_hello.versions
        spoken = "offers " + (" and ".join(versions) if versions else "no version")
    elif received.server_hello is not None:
        spoken = f"chose {received.server_hello.version}"
    else:
        spoken = "speaks another version"
    return f"it {spoken}; TLS 1.2 is the one version spoken here"


def _certificate_refusal(
    error: ssl.SSLCertVerificationError, shown: bytes | None, server_hostname: str | None
) -> str:
    certificate = _parsed(shown)
    match error.verify_code:
        case _ if certificate is None:
            pass
        case 10:  # X509_V_ERR_..., of openssl/x509_vfy.h: CERT_HAS_EXPIRED
            return _expired(certificate)
        case 9:  # CERT_NOT_YET_VALID
            return _not_yet_valid(certificate)
        case 2 | 18 | 19 | 20 | 21:  # no way to the issuer, or a self-signed one
            return f"its certificate was issued by {_issuer(certificate)}, who is not trusted here"
        case 62 | 64:  # HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH
            return f"its certificate is for {_names(certificate)}, not for {server_hostname}"
    return f"its certificate does not hold: {error.verify_message}"


def _expired(certificate: x509.Certificate) -> str:
    not_after = certificate.not_valid_after_utc
    if not_after > datetime.now(UTC):
        return "the certificate of a CA in its chain has expired"
    return f"its certificate expired on {_date(not_after)}"


def _not_yet_valid(certificate: x509.Certificate) -> str:
    not_before, now = certificate.not_valid_before_utc, datetime.now(UTC)
    if not_before < now:
        return "the certificate of a CA in its chain is not valid yet"
    return (
        f"its certificate is not valid before {_date(not_before)}, and it is {_date(now)} here: "
        "is a clock wrong?"
    )


def _parsed(certificate: bytes | None) -> x509.Certificate | None:
    if certificate is None:
        return None
    try:
        return certificate_from_der(certificate)
    except CertificateError:
        return None


def _names(certificate: x509.Certificate) -> str:
    try:
        names = sans_of(certificate)
    except (CertificateError, *MALFORMED):
        return "names that cannot be read"
    return ", ".join(names) or "no name at all"


def _issuer(certificate: x509.Certificate) -> str:
    try:
        issuer = certificate.issuer.rfc4514_string()
    except MALFORMED:
        return "a CA whose name cannot be read"
    return issuer if issuer.isprintable() and issuer else repr(issuer)


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _title(message: int) -> str:
    try:
        name = HandshakeType(message).name
    except ValueError:
        return f"handshake message {message}"
    return "".join(word.capitalize() for word in name.split("_"))


def _guess(opening: bytes) -> str:
    return ": it looks like HTTP" if opening.startswith(_HTTP_METHODS) else ""


def _plain(error: ssl.SSLError) -> str:
    return error.reason.lower().replace("_", " ") if error.reason else str(error)


def _alert(number: int | None) -> Alert | None:
    if number is None:
        return None
    try:
        return Alert(number)
    except ValueError:
        return None


def _alert_told(error: ssl.SSLError, received: Scanner) -> int | None:
    """The alert by which the peer ended the handshake, in the clear or encrypted."""
    return (
        received.fatal_alert if received.fatal_alert is not None else _alert_by_name(error.reason)
    )


def _alert_by_name(reason: str | None) -> int | None:
    """The alert's number out of OpenSSL's name for it, such as `TLSV1_ALERT_UNKNOWN_CA`."""
    if not reason or not reason.startswith(("SSLV3_", "TLSV1_", "TLSV13_")):
        return None
    name = reason.split("_", 1)[1].removeprefix("ALERT_")
    return Alert[name].value if name in Alert.__members__ else None
