"""A certificate once more with a flaw that no profile has, and signed as well as the first.

Only a CA can make these. Who shows one sees whether a peer refuses it for the flaw, since all else
is in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    from asynctls.pki.profiles import Issuer

__all__ = ["flawed"]


def flawed(
    certificate: x509.Certificate,
    *,
    issuer: Issuer,
    public_key: CertificatePublicKeyTypes | None = None,
    uses: Sequence[x509.ObjectIdentifier] | None = None,
) -> x509.Certificate:
    """The same certificate, serial number included, with what is given in the place of its own.

    Args:
        certificate: of `profiles.issue`; it is to be forgotten.
        issuer: who signed it.
        public_key: another holder's, of any kind and size.
        uses: extended key usages (RFC 5280, section 4.2.1.12).
    """
    key = certificate.public_key() if public_key is None else public_key
    altered: dict[x509.ObjectIdentifier, x509.ExtensionType] = {
        x509.SubjectKeyIdentifier.oid: x509.SubjectKeyIdentifier.from_public_key(key)
    }
    if uses is not None:
        altered[x509.ExtendedKeyUsage.oid] = x509.ExtendedKeyUsage(uses)
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .public_key(key)
        .serial_number(certificate.serial_number)
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
    )
    for each in certificate.extensions:
        builder = builder.add_extension(altered.get(each.oid, each.value), each.critical)
    return builder.sign(issuer.key, hashes.SHA384())
