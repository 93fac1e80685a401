"""Certificates as text and in bundles: PEM (RFC 7468), and which CAs a pinned root vouches for.

A bundle comes from the network (EST's /cacerts) or from disk; only what the pinned root signed may
enter a trust store (RFC 5280, section 6.1, for the two levels that this system has).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization

from asynctls.errors import CertificateError
from asynctls.pki.malformed import MALFORMED

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

__all__ = [
    "certificate_from_der",
    "certificates_from_pem",
    "chained_to",
    "check_issued_by",
    "fingerprint",
    "to_der",
    "to_pem",
]


def certificate_from_der(der: bytes) -> x509.Certificate:
    """Read one certificate (DER).

    Raises:
        CertificateError: it is none.
    """
    try:
        return x509.load_der_x509_certificate(der)
    except MALFORMED as error:
        raise CertificateError("this is no well-formed certificate in DER") from error


def certificates_from_pem(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Read every certificate of a PEM text, in its order.

    Raises:
        CertificateError: there is none, or one of them cannot be read.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except MALFORMED as error:
        raise CertificateError("this is no PEM text of well-formed certificates") from error


def to_pem(*certificates: x509.Certificate) -> str:
    """Certificates one after the other as PEM text."""
    pem = serialization.Encoding.PEM
    return "".join(certificate.public_bytes(pem).decode("ascii") for certificate in certificates)


def to_der(certificate: x509.Certificate) -> bytes:
    """A certificate as DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def fingerprint(certificate: x509.Certificate) -> bytes:
    """SHA-256 over a certificate's DER: what a join string pins."""
    return certificate.fingerprint(hashes.SHA256())


def check_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    """Check that `issuer` is a CA that may sign certificates, and signed this one; dates apart.

    Raises:
        CertificateError: and why.
    """
    holder = signer = "unreadable"
    try:
        holder, signer = certificate.subject.rfc4514_string(), issuer.subject.rfc4514_string()
        if not _is_ca(issuer):
            raise CertificateError(f"{signer!r} is not a CA")
        certificate.verify_directly_issued_by(issuer)
    except InvalidSignature as error:
        raise CertificateError(f"{holder!r}: its signature is not that of {signer!r}") from error
    except MALFORMED as error:
        raise CertificateError(f"{holder!r} was not issued by {signer!r}: {error}") from error


def chained_to(
    root: x509.Certificate, bundle: Iterable[x509.Certificate], *, now: datetime
) -> tuple[x509.Certificate, ...]:
    """The issuing CAs in `bundle` that `root` signed and that are valid now, each once, in order.

    The root itself, CAs of other roots, expired ones and leaves are left out: a bundle may be
    anybody's, and what is kept will be trusted as an issuer.

    Raises:
        CertificateError: `root` is no self-signed CA certificate, or not valid now.
    """
    check_issued_by(root, root)
    if not _is_valid(root, now):
        raise CertificateError(
            f"the root certificate is valid from {root.not_valid_before_utc:%Y-%m-%d %H:%M:%S} to "
            f"{root.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC; by this clock it is "
            f"{now:%Y-%m-%d %H:%M:%S}"
        )
    candidates = dict.fromkeys(bundle)
    return tuple(
        candidate
        for candidate in candidates
        if candidate != root and _is_valid(candidate, now) and _is_issuing_ca(candidate, root)
    )


def _is_valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def _is_issuing_ca(candidate: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        check_issued_by(candidate, root)
        return _is_ca(candidate)
    except (CertificateError, *MALFORMED):
        return False


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return constraints.ca and usage.key_cert_sign
