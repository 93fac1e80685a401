"""All that the ledger has on one certificate, for a person who looks into it.

Unlike a list this reads the certificate itself, and shows the TTP's own as well: root, issuing CAs
and what the TTP shows in TLS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from asynctls.errors import CertificateError
from asynctls.pki.certificates import certificate_from_der, fingerprint, to_pem
from asynctls.pki.keys import judge_public_key, key_type_of
from asynctls.pki.names import canonical_name, format_serial, parse_serial
from asynctls.pki.pins import Pin
from asynctls.ttp import clock
from asynctls.ttp.schema import CertificateBody, Kind, RevocationBody, entries, is_kind, readable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from cryptography import x509

    from asynctls.ttp.lists import CertificateStatus

__all__ = ["CertificateDetails", "details_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateDetails:
    """One certificate as ``asynctls ttp show`` has it.

    Attributes:
        sequence: its row's in the ledger.
        issuer: who signed it, as its own text says (RFC 4514).
        pin: its public key's, for allow lists.
        asked_from: from where it was asked for; empty for the TTP's own.
        token_id: the token that led to it, if it was no renewal.
        renews: the serial number of the certificate that it renewed.
        renewed_by: the serial numbers of those that renewed it.
    """

    sequence: int
    serial: str
    name: str
    sans: tuple[str, ...]
    profile: str
    status: CertificateStatus
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    asked_from: str
    issuer: str
    key_type: str
    fingerprint: str
    pin: str
    token_id: str | None
    renews: str | None
    renewed_by: tuple[str, ...]
    revoked_at: datetime | None
    reason: str | None
    pem: str


_revoked = entries.alias("revoked")

_with_end = (
    sa.select(entries, _revoked.c.at.label("revoked_at"), _revoked.c.body.label("revocation"))
    .select_from(entries)
    .outerjoin(
        _revoked,
        sa.and_(is_kind(Kind.CERTIFICATE_REVOKED, _revoked), _revoked.c.serial == entries.c.serial),
    )
    .order_by(entries.c.sequence)
)
_issued = _with_end.where(is_kind(Kind.CERTIFICATE_ISSUED))
_own = _with_end.where(is_kind(Kind.OWN_CERTIFICATE_ISSUED))


def details_of(connection: sa.Connection, which: str, *, now: datetime) -> list[CertificateDetails]:
    """What is known of a serial number, or of each certificate of exactly a name, oldest first.

    What is both is a serial number if there is a certificate of that number.

    Raises:
        CertificateError: there is nothing of that serial or name.
    """
    found = _by_serial(connection, which, now) or _of(
        connection, _issued.where(entries.c.name == canonical_name(which)), now
    )
    if not found:
        raise CertificateError(
            f"there is no certificate with the serial number {which}, and none with exactly this "
            "name; 'asynctls ttp list' shows what there is"
        )
    return found


def _by_serial(connection: sa.Connection, which: str, now: datetime) -> list[CertificateDetails]:
    try:
        serial = format_serial(parse_serial(which))
    except CertificateError:
        return []
    # Two queries, so that each has the partial index of its kind.
    return _of(connection, _issued.where(entries.c.serial == serial), now) or _of(
        connection, _own.where(entries.c.serial == serial), now
    )


@readable()
def _of(
    connection: sa.Connection, query: sa.Select[tuple[object, ...]], now: datetime
) -> list[CertificateDetails]:
    return [
        _details(row, _renewals(connection, row.serial), now) for row in connection.execute(query)
    ]


def _renewals(connection: sa.Connection, serial: str) -> list[str]:
    query = sa.select(entries.c.serial).where(
        is_kind(Kind.CERTIFICATE_ISSUED), entries.c.renews == serial
    )
    return list(connection.execute(query.order_by(entries.c.sequence)).scalars())


def _details(
    row: sa.Row[tuple[object, ...]], renewed_by: Iterable[str], now: datetime
) -> CertificateDetails:
    body = msgspec.json.decode(row.body, type=CertificateBody)
    certificate = certificate_from_der(row.der)
    not_after = certificate.not_valid_after_utc
    status: CertificateStatus = "expired" if now > not_after else "valid"
    reason = None
    if row.revoked_at is not None:
        status = "revoked"
        reason = msgspec.json.decode(row.revocation, type=RevocationBody).reason
    return CertificateDetails(
        sequence=row.sequence,
        serial=row.serial,
        name=row.name,
        sans=body.sans,
        profile=body.profile,
        status=status,
        not_before=certificate.not_valid_before_utc,
        not_after=not_after,
        issued_at=clock.moment(row.at),
        asked_from=body.address,
        issuer=certificate.issuer.rfc4514_string(),
        key_type=_key_type(certificate),
        fingerprint=fingerprint(certificate).hex(),
        pin=str(Pin.of(certificate)),
        token_id=row.token_id,
        renews=row.renews,
        renewed_by=tuple(renewed_by),
        revoked_at=None if row.revoked_at is None else clock.moment(row.revoked_at),
        reason=reason,
        pem=to_pem(certificate),
    )


def _key_type(certificate: x509.Certificate) -> str:
    try:
        return key_type_of(judge_public_key(certificate.public_key()))
    except CertificateError:
        # A trial's (`ttp.trials`), and not what an altered row would have.
        return "none that is accepted"
