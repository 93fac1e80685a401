"""CRLs in the ledger, as values: those that were signed, and what the next one is to list.

Each function is one query, as in `records`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from asynctls.pki.names import parse_serial
from asynctls.pki.status import Revoked
from asynctls.ttp.clock import moment
from asynctls.ttp.schema import CRLBody, Kind, RevocationBody, entries, is_kind, readable

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["SignedCRL", "latest", "latest_number", "revocations"]

_revoked = entries.alias("revoked")


@dataclass(frozen=True, slots=True)
class SignedCRL:
    """A CRL's row: its number is the row's sequence, unless it was signed elsewhere."""

    number: int
    this_update: datetime
    next_update: datetime
    der: bytes


@readable()
def revocations(
    connection: sa.Connection, issuer: str, *, is_first: bool, ended_after: datetime
) -> list[Revoked]:
    """What a CRL lists: one CA's revoked certificates that end after ``ended_after``.

    Args:
        connection: a reader's or the writer's.
        issuer: the CA's key identifier.
        is_first: whether it is the CA whose rows name no issuer (before schema 0002).
        ended_after: those that ended before are left out.
    """
    its = entries.c.issuer == issuer
    if is_first:
        its = sa.or_(its, entries.c.issuer.is_(None))
    rows = connection.execute(
        sa.select(_revoked.c.serial, _revoked.c.at, _revoked.c.body)
        .select_from(_revoked)
        .join(
            entries,
            sa.and_(is_kind(Kind.CERTIFICATE_ISSUED), entries.c.serial == _revoked.c.serial),
        )
        .where(
            is_kind(Kind.CERTIFICATE_REVOKED, _revoked),
            entries.c.ends_at > int(ended_after.timestamp()),
            its,
        )
        .order_by(_revoked.c.serial)
    )
    listed = []
    for row in rows:
        reason = msgspec.json.decode(row.body, type=RevocationBody).reason
        # RFC 5280, section 5.3.1: 'unspecified' is said by leaving the reason out.
        said = None if reason == "unspecified" else reason
        listed.append(Revoked(parse_serial(row.serial), moment(row.at), said))
    return listed


def latest_number(connection: sa.Connection, issuer: str) -> int | None:
    """The number of the CRL that `latest` would give, without reading its bytes."""
    return connection.execute(
        sa.select(entries.c.sequence)
        .where(is_kind(Kind.CRL_SIGNED), entries.c.issuer == issuer)
        .order_by(entries.c.sequence.desc())
        .limit(1)
    ).scalar()


@readable()
def latest(connection: sa.Connection, issuer: str) -> SignedCRL | None:
    """The last CRL of the CA with that key identifier, or None."""
    row = connection.execute(
        sa.select(entries)
        .where(is_kind(Kind.CRL_SIGNED), entries.c.issuer == issuer)
        .order_by(entries.c.sequence.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    body = msgspec.json.decode(row.body, type=CRLBody)
    number = row.sequence if body.number is None else body.number
    return SignedCRL(number, body.this_update, moment(row.ends_at), row.der)
