"""Requests that wait for a person: recorded, listed, approved (RFC 7030, section 4.2.3).

A request that was let wait is known by its token and its key, so that the client that repeats it is
told apart from somebody else with the same token. What is approved is the names and the key of the
recorded row, whatever a later request with that key asks for. All of it ends with the token's time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from asynctls.errors import EnrolmentError
from asynctls.ttp import clock
from asynctls.ttp.schema import ApprovalBody, Kind, PendingBody, entries, is_kind, readable, row_of

if TYPE_CHECKING:
    from datetime import datetime

    from asynctls.ttp.transactions import Transaction

__all__ = ["WaitingRequest", "approve", "request_by_key", "waiting_requests"]


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """A request that was let wait, and when it was approved.

    Attributes:
        number: its row's sequence, by which a person approves it.
        name: the name that its token grants.
        sans: every name that the certificate would have.
        profile: server, client or peer.
        key_type: the kind of its key.
        spki_sha256: the key's fingerprint (SubjectPublicKeyInfo, 32 bytes).
        address: from where it came first.
        token_id: its token.
        at: when it came first.
        expires_at: the end of its token's time.
        approved_at: None while it waits.
    """

    number: int
    name: str
    sans: tuple[str, ...]
    profile: str
    key_type: str
    spki_sha256: bytes
    address: str
    token_id: str
    at: datetime
    expires_at: datetime
    approved_at: datetime | None


_approved = entries.alias("approved")
_issued = entries.alias("issued")
_token = entries.alias("token")
_taken_back = entries.alias("taken_back")

_requests = (
    sa.select(entries, _approved.c.at.label("approved_at"), _token.c.ends_at.label("expires_at"))
    .select_from(entries)
    .join(
        _token,
        sa.and_(is_kind(Kind.TOKEN_CREATED, _token), _token.c.token_id == entries.c.token_id),
    )
    .outerjoin(
        _approved,
        sa.and_(
            is_kind(Kind.ENROLMENT_APPROVED, _approved),
            _approved.c.token_id == entries.c.token_id,
            _approved.c.spki_sha256 == entries.c.spki_sha256,
        ),
    )
    .where(is_kind(Kind.ENROLMENT_PENDING))
)


@readable()
def request_by_key(
    connection: sa.Connection, token_id: str, spki_sha256: bytes
) -> WaitingRequest | None:
    """The request with that token and key that was let wait, or None."""
    row = connection.execute(
        _requests.where(entries.c.token_id == token_id, entries.c.spki_sha256 == spki_sha256)
    ).one_or_none()
    return None if row is None else _request(row)


@readable()
def waiting_requests(connection: sa.Connection, now: datetime) -> list[WaitingRequest]:
    """What a person can approve at ``now``, oldest first."""
    issued = (
        sa.select(_issued.c.sequence)
        .where(
            is_kind(Kind.CERTIFICATE_ISSUED, _issued),
            _issued.c.token_id == entries.c.token_id,
            _issued.c.spki_sha256 == entries.c.spki_sha256,
        )
        .exists()
    )
    taken_back = (
        sa.select(_taken_back.c.sequence)
        .where(
            is_kind(Kind.TOKEN_REVOKED, _taken_back), _taken_back.c.token_id == entries.c.token_id
        )
        .exists()
    )
    waiting = _requests.where(
        _approved.c.at.is_(None), _token.c.ends_at > int(now.timestamp()), ~issued, ~taken_back
    )
    # Asked for in this order, SQLite would go through the whole ledger.
    return sorted(map(_request, connection.execute(waiting)), key=lambda each: each.number)


def approve(transaction: Transaction, number: int, *, now: datetime) -> WaitingRequest:
    """Records that a person approved a request; an operation of the ledger.

    Raises:
        EnrolmentError: no such request waits (any more).
    """
    waiting = {each.number: each for each in waiting_requests(transaction.connection, now)}
    found = waiting.get(number)
    if found is None:
        raise EnrolmentError(
            f"no request {number} waits for approval: it was approved before, or its token has "
            "expired or was revoked; 'asynctls ttp pending' shows those that wait"
        )
    transaction.append(
        row_of(
            Kind.ENROLMENT_APPROVED,
            ApprovalBody(request=number),
            at=int(now.timestamp()),
            token_id=found.token_id,
            name=found.name,
            spki_sha256=found.spki_sha256,
        )
    )
    return found


def _request(row: sa.Row[tuple[object, ...]]) -> WaitingRequest:
    body = msgspec.json.decode(row.body, type=PendingBody)
    return WaitingRequest(
        number=row.sequence,
        name=row.name,
        sans=body.sans,
        profile=body.profile,
        key_type=body.key_type,
        spki_sha256=row.spki_sha256,
        address=body.address,
        token_id=row.token_id,
        at=clock.moment(row.at),
        expires_at=clock.moment(row.expires_at),
        approved_at=None if row.approved_at is None else clock.moment(row.approved_at),
    )
