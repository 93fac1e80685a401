"""The CRLs that a role holds: fetched, verified once, kept as PEM beside its identity.

Two are kept, the issuing CA's and the root's, since other programs check the whole chain. Nothing
is believed because of the connection that it came over: each list's signature counts.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from asynctls.enrolment import est_client, est_codec
from asynctls.errors import CertificateError, TTPNotTrustedError
from asynctls.pki.status import RevocationList, read_crl

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography import x509

    from asynctls.enrolment.connection import TTPConnection

__all__ = ["fetch", "from_pem", "to_pem"]

_PEM = re.compile(r"-----BEGIN X509 CRL-----(.*?)-----END X509 CRL-----", re.DOTALL)


async def fetch(
    ttp: TTPConnection, authorities: Sequence[x509.Certificate]
) -> tuple[RevocationList, ...]:
    """GETs the issuing CA's CRL and the root's, and verifies them.

    Args:
        ttp: An open connection.
        authorities: The root and the issuing CAs; one of them must have signed each list.

    Raises:
        TTPUnreachableError: No answer, or not this one; trying again can help.
        TTPNotTrustedError: A list is of none of the authorities.
    """
    ders = [await est_client.fetch_crl(ttp, path) for path in (est_codec.CRL, est_codec.ROOT_CRL)]
    try:
        return await asyncio.to_thread(_verify, ders, authorities)
    except CertificateError as error:
        raise TTPNotTrustedError(f"the TTP's CRL cannot be used: {error}") from error


def from_pem(text: str, authorities: Sequence[x509.Certificate]) -> tuple[RevocationList, ...]:
    """The lists of a ``crl.pem``, verified anew; blocks.

    Raises:
        CertificateError: One is malformed, or of none of the authorities.
    """
    try:
        ders = [b64decode("".join(body.split()), validate=True) for body in _PEM.findall(text)]
    except ValueError as error:
        raise CertificateError("the CRLs are damaged") from error
    return _verify(ders, authorities)


def to_pem(lists: Iterable[RevocationList]) -> str:
    """The lists one after the other (RFC 7468, section 6)."""
    return "".join(
        f"-----BEGIN X509 CRL-----\n{_folded(each.der)}\n-----END X509 CRL-----\n" for each in lists
    )


def _folded(der: bytes) -> str:
    text = b64encode(der).decode()
    return "\n".join(text[start : start + 64] for start in range(0, len(text), 64))


def _verify(
    ders: Sequence[bytes], authorities: Sequence[x509.Certificate]
) -> tuple[RevocationList, ...]:
    return tuple(_verified(der, authorities) for der in ders)


def _verified(der: bytes, authorities: Sequence[x509.Certificate]) -> RevocationList:
    failure = CertificateError("there is no CA whose CRL it could be")
    for authority in authorities:
        try:
            return read_crl(der, authority)
        except CertificateError as error:
            failure = error
    raise failure
