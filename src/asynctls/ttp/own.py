"""The TTP's own certificates: their rows in the ledger, and when what it shows is renewed.

They are rows so that their serial numbers, and when each was taken up, come from the same chain as
everything that they vouch for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.pki.certificates import to_der
from asynctls.pki.keys import KeyType, judge_public_key, key_type_of, spki_sha256
from asynctls.pki.names import format_serial, sans_of
from asynctls.ttp import records
from asynctls.ttp.schema import Kind, OwnCertificateBody, row_of

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

    from asynctls.pki.profiles import Profile
    from asynctls.ttp.transactions import Transaction

__all__ = ["is_due", "key_type_under", "record"]


def key_type_under(issuing: x509.Certificate) -> KeyType:
    """As small as a leaf's of the issuer's kind: each handshake or OCSP answer pays for it."""
    kind = key_type_of(judge_public_key(issuing.public_key()))
    return KeyType.RSA_2048 if kind.startswith("rsa") else KeyType.ECDSA_P256


def is_due(certificate: x509.Certificate, issuing: x509.Certificate, now: datetime) -> bool:
    """Whether two thirds of its lifetime are over, and a new one could last longer.

    Also when the clock was set back behind its beginning, and a new one could begin sooner.
    """
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        return issuing.not_valid_before_utc < start
    if end >= issuing.not_valid_after_utc:
        return False
    return now >= end - (end - start) / 3


def record(
    transaction: Transaction,
    certificate: x509.Certificate,
    name: str,
    profile: Profile,
    *,
    issuer: str,
    now: datetime,
    sealed_key: str = "",
    sealed_with: str = "",
) -> None:
    """Records one of the TTP's own certificates, unless it is recorded already.

    Args:
        transaction: the writer's.
        certificate: what was issued or imported.
        name: what it is called here: ``root``, ``issuing``, ``ttp``, …
        profile: what it is for.
        issuer: the key identifier of the CA that signed it.
        now: when it is taken up.
        sealed_key: its private key for the other TTPs of this ledger (``ttp.sealing``).
        sealed_with: the mark of what that is sealed with.
    """
    serial = format_serial(certificate.serial_number)
    if records.has_own_certificate(transaction.connection, serial):
        return
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    transaction.append(
        row_of(
            Kind.OWN_CERTIFICATE_ISSUED,
            OwnCertificateBody(
                sans=sans_of(certificate),
                profile=profile,
                lifetime_s=int((end - start).total_seconds()),
                not_before=start,
                sealed_key=sealed_key,
                sealed_with=sealed_with,
            ),
            at=int(now.timestamp()),
            serial=serial,
            name=name,
            spki_sha256=spki_sha256(judge_public_key(certificate.public_key())),
            ends_at=int(end.timestamp()),
            der=to_der(certificate),
            issuer=issuer,
        )
    )
