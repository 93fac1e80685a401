"""Where the status of a certificate and its issuer can be fetched, as the certificate says it.

CRL distribution points and authority information access (RFC 5280, sections 4.2.1.13 and 4.2.2.1).
"""

from __future__ import annotations

import msgspec
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

__all__ = ["Pointers", "pointing"]


class Pointers(msgspec.Struct, frozen=True, kw_only=True):
    """Where a certificate's status and its issuer are to be had, as plain ``http:`` URLs.

    Attributes:
        crl: its issuer's CRL (RFC 5280, section 4.2.1.13).
        ocsp: who answers for it by OCSP (section 4.2.2.1).
        issuer: its issuer's certificate in DER (section 4.2.2.1).
    """

    crl: str
    ocsp: str | None = None
    issuer: str | None = None


def pointing(
    builder: x509.CertificateBuilder, pointers: Pointers | None
) -> x509.CertificateBuilder:
    """A certificate that says so, or, with None, nothing of the kind."""
    if pointers is None:
        return builder
    where = [x509.UniformResourceIdentifier(pointers.crl)]
    crl = x509.DistributionPoint(full_name=where, relative_name=None, reasons=None, crl_issuer=None)
    builder = builder.add_extension(x509.CRLDistributionPoints([crl]), critical=False)
    access = [
        x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
        for method, url in (
            (AuthorityInformationAccessOID.OCSP, pointers.ocsp),
            (AuthorityInformationAccessOID.CA_ISSUERS, pointers.issuer),
        )
        if url is not None
    ]
    if access:
        builder = builder.add_extension(x509.AuthorityInformationAccess(access), critical=False)
    return builder
