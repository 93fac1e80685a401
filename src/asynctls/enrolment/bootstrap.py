"""The first connection of all, on which nothing is verified: the root out of a fingerprint.

RFC 7030, section 4.1.1: whoever has no trust anchor yet may ask /cacerts over an unverified
connection and hold the answer against something that it has by another way; here, the fingerprint
in the join string. **No secret may go over such a connection** (section 3.2.3), so nothing in this
module takes one: what it is given is an address and a fingerprint, both of them public.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import msgspec

from asynctls.enrolment import est_codec
from asynctls.enrolment.connection import Everyone, TTPConnection, certificates_in, said_date
from asynctls.errors import CertificateError, TTPNotTrustedError, TTPUnreachableError
from asynctls.pki.certificates import check_issued_by, fingerprint
from asynctls.tls import contexts

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

    from asynctls.config import Address

__all__ = ["Found", "fetch_root"]

_SHOWN = 4


class Found(msgspec.Struct, frozen=True):
    """The root that was pinned, and what time the other side said it is (nobody vouches for it)."""

    root: x509.Certificate
    said_date: datetime | None


async def fetch_root(address: Address, root_sha256: bytes) -> Found:
    """Asks whoever listens at ``address`` for its CA certificates and keeps the pinned one.

    Raises:
        TTPUnreachableError: No answer, or none that is EST; trying again can help.
        TTPNotTrustedError: The pinned root is not in the answer: this is another TTP.
    """
    context = contexts.bootstrap_context()
    async with TTPConnection(address, context, admit=Everyone(), server_hostname=None) as ttp:
        answer = await ttp.get(est_codec.CACERTS)
    if answer.status != 200:
        raise TTPUnreachableError(
            f"{address} answered {answer.status} when it was asked for its CA certificates: "
            "it is no TTP, or not one that is ready"
        )
    try:
        certificates = certificates_in(answer)
    except CertificateError as error:
        raise TTPNotTrustedError(f"{address} is no TTP: {error}") from error
    for certificate in certificates:
        if hmac.compare_digest(fingerprint(certificate), root_sha256):
            try:
                check_issued_by(certificate, certificate)
            except CertificateError as error:
                raise TTPNotTrustedError(
                    f"what the join string pins is no root: {error}"
                ) from error
            return Found(certificate, said_date(answer))
    shown = ", ".join(fingerprint(each).hex() for each in certificates[:_SHOWN]) or "none at all"
    if len(certificates) > _SHOWN:
        shown += " …"
    raise TTPNotTrustedError(
        f"{address} is not the TTP that the join string names: the root's fingerprint is to be "
        f"{root_sha256.hex()}, and its CA certificates have: {shown}. Nothing was sent to it; "
        "ask whoever gave you the join string"
    )
