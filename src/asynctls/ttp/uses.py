"""How far a token is used up, as one key finds it.

Asked at each enrolment, of tokens that may be good for 100,000 keys: so what was issued before is
not read, but for what this key got.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from asynctls.ttp import approvals, records
from asynctls.ttp.schema import Kind, entries, is_kind
from asynctls.ttp.statements import Prepared

if TYPE_CHECKING:
    from asynctls.ttp.approvals import WaitingRequest
    from asynctls.ttp.records import StoredCertificate, StoredToken

__all__ = ["Uses", "uses_by"]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Uses:
    """What there is of a token by the time that a key asks.

    Attributes:
        again: the certificate that this key got.
        waits: the request that it was let wait with.
        others: how many other keys have used the token; looked at only when this key has not.
        led_to: the serial numbers of some certificates that they got, once it is used up.
    """

    again: StoredCertificate | None = None
    waits: WaitingRequest | None = None
    others: int = 0
    led_to: tuple[str, ...] = ()


_by_token = entries.c.token_id == sa.bindparam("token")
_issued = sa.and_(is_kind(Kind.CERTIFICATE_ISSUED), _by_token)
_keys_issued = sa.select(entries.c.spki_sha256).where(_issued)
_keys_waiting = sa.select(entries.c.spki_sha256).where(is_kind(Kind.ENROLMENT_PENDING), _by_token)
# By an index that has all that is counted.
_count = Prepared(sa.select(sa.func.count().label("keys")).select_from(_keys_issued.subquery()))
# Where a person approves, a key waits before it has its certificate: each counts once.
_count_with_waiting = Prepared(
    sa.select(sa.func.count().label("keys")).select_from(
        sa.union(_keys_issued, _keys_waiting).subquery()
    )
)
_some = sa.select(entries.c.serial).where(_issued).limit(_SHOWN)


def uses_by(connection: sa.Connection, token: StoredToken, spki_sha256: bytes) -> Uses:
    """What a token comes to for this key.

    Args:
        connection: the writer's, in a transaction.
        token: as it stands.
        spki_sha256: the key's fingerprint.
    """
    if not (token.used or token.approve):
        # As with nearly all: the token's row has said so, and nothing more need be looked up.
        return Uses()
    again = records.certificate_by_token_key(connection, token.token_id, spki_sha256)
    waits = (
        approvals.request_by_key(connection, token.token_id, spki_sha256) if token.approve else None
    )
    if again is not None or waits is not None:
        return Uses(again, waits)
    count = _count_with_waiting if token.approve else _count
    others: int = count.one(connection, token=token.token_id).keys
    if others < token.uses:
        return Uses(others=others)
    led_to = connection.execute(_some, {"token": token.token_id}).scalars()
    return Uses(others=others, led_to=tuple(led_to))
