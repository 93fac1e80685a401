"""Certificates as a list shows them: a page at a time, so that their number costs no memory.

Rows are never updated, so pages that follow one another by sequence miss nothing and repeat
nothing; whether a certificate is revoked is as of its page.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - msgspec reads it
from typing import Literal

import msgspec
import sqlalchemy as sa

from asynctls.ttp.clock import moment
from asynctls.ttp.schema import Kind, entries, is_kind, readable

__all__ = ["CertificateStatus", "ListedCertificate", "Page", "page_of"]

_AT_ONCE = 2_000

CertificateStatus = Literal["valid", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class ListedCertificate:
    """One line of ``asynctls ttp list``."""

    serial: str
    name: str
    sans: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    status: CertificateStatus


@dataclass(frozen=True, slots=True)
class Page:
    """Some certificates, oldest first, and where the next page begins; None: this was the last."""

    certificates: list[ListedCertificate]
    after: int | None


class _Shown(msgspec.Struct):
    """Of a certificate's body what a list shows."""

    sans: tuple[str, ...]
    not_before: datetime


_decoder = msgspec.json.Decoder(_Shown)
_revoked = entries.alias("revoked")
_is_revoked = _revoked.c.at.is_not(None)
_has_ended = entries.c.ends_at < sa.bindparam("now")
_certificates = (
    sa.select(
        entries.c.sequence,
        entries.c.serial,
        entries.c.name,
        entries.c.body,
        entries.c.ends_at,
        _revoked.c.at.label("revoked_at"),
    )
    .select_from(entries)
    .outerjoin(
        _revoked,
        sa.and_(is_kind(Kind.CERTIFICATE_REVOKED, _revoked), _revoked.c.serial == entries.c.serial),
    )
    .where(is_kind(Kind.CERTIFICATE_ISSUED), entries.c.sequence > sa.bindparam("after"))
    .order_by(entries.c.sequence)
    .limit(sa.bindparam("most"))
)
_of_status: dict[CertificateStatus | None, sa.Select[tuple[object, ...]]] = {
    None: _certificates,
    "revoked": _certificates.where(_is_revoked),
    "expired": _certificates.where(~_is_revoked, _has_ended),
    "valid": _certificates.where(~_is_revoked, ~_has_ended),
}


@readable()
def page_of(
    connection: sa.Connection, only: CertificateStatus | None, *, after: int, now: datetime
) -> Page:
    """The next certificates of roles; what was revoked stays ``revoked`` after its end.

    Args:
        connection: a reader's.
        only: those of this status; None: all.
        after: where the page before ended; 0: there was none.
        now: what status goes by.
    """
    # A certificate has ended once its last second is over; the column has whole seconds.
    ended = math.ceil(now.timestamp())
    asked = {"after": after, "now": ended, "most": _AT_ONCE}
    rows = connection.execute(_of_status[only], asked).all()
    found = []
    for row in rows:
        body = _decoder.decode(row.body)
        status: CertificateStatus = "expired" if row.ends_at < ended else "valid"
        if row.revoked_at is not None:
            status = "revoked"
        found.append(
            ListedCertificate(
                row.serial, row.name, body.sans, body.not_before, moment(row.ends_at), status
            )
        )
    return Page(found, rows[-1].sequence if len(rows) == _AT_ONCE else None)
