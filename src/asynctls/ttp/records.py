"""What the ledger's rows say, as values: tokens, and certificates of roles and of the TTP.

Each function is one query over a connection, of a reader or of the writer's transaction, that an
index serves. The ledger's rows are never updated, so 'used' and 'revoked' are found by whether a
later row says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from asynctls.pki.keys import KeyType
from asynctls.pki.name_rules import NameRule
from asynctls.pki.profiles import Profile
from asynctls.ttp import crls
from asynctls.ttp.clock import moment
from asynctls.ttp.policy import Grant
from asynctls.ttp.schema import (
    CertificateBody,
    Kind,
    OwnCertificateBody,
    TokenBody,
    entries,
    is_kind,
    readable,
)
from asynctls.ttp.statements import Prepared

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LedgerCount",
    "OwnCertificate",
    "StoredCertificate",
    "StoredToken",
    "certificate_by_serial",
    "certificate_by_token_key",
    "count_own_certificates",
    "count_rows",
    "has_own_certificate",
    "own_certificates",
    "renewal_by_key",
    "token_by_id",
    "unused_tokens",
    "valid_certificates",
]


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token's row, whether it was revoked since, and whether it led to any certificate."""

    token_id: str
    grant: Grant
    expires_at: datetime
    secret_sha256: bytes
    revoked_at: datetime | None
    used: bool
    uses: int = 1
    approve: bool = False


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """A certificate's row, and whether it was revoked since."""

    serial: str
    grant: Grant
    not_before: datetime
    not_after: datetime
    spki_sha256: bytes
    der: bytes
    revoked_at: datetime | None
    issuer: str | None


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """The row of one of the TTP's own certificates; ``at`` is when this ledger took it up."""

    sequence: int
    at: datetime
    der: bytes
    sealed_key: str = field(repr=False)
    sealed_with: str


@dataclass(frozen=True, slots=True)
class LedgerCount:
    """How many rows of each kind there are up to the row ``until``, and the root's last CRL."""

    rows: Mapping[str, int]
    until: int
    root_crl: crls.SignedCRL | None


_revoked = entries.alias("revoked")
_issued = entries.alias("issued")

_tokens = (
    sa.select(entries, _revoked.c.at.label("revoked_at"))
    .select_from(entries)
    .outerjoin(
        _revoked,
        sa.and_(is_kind(Kind.TOKEN_REVOKED, _revoked), _revoked.c.token_id == entries.c.token_id),
    )
    .where(is_kind(Kind.TOKEN_CREATED))
)
_certificates = (
    sa.select(entries, _revoked.c.at.label("revoked_at"))
    .select_from(entries)
    .outerjoin(
        _revoked,
        sa.and_(is_kind(Kind.CERTIFICATE_REVOKED, _revoked), _revoked.c.serial == entries.c.serial),
    )
    .where(is_kind(Kind.CERTIFICATE_ISSUED))
)


_used = (
    sa.select(_issued.c.sequence)
    .where(is_kind(Kind.CERTIFICATE_ISSUED, _issued), _issued.c.token_id == entries.c.token_id)
    .exists()
    .label("used")
)
_token_by_id = Prepared(
    _tokens.add_columns(_used).where(entries.c.token_id == sa.bindparam("token"))
)
_certificate_by_token_key = Prepared(
    _certificates.where(
        entries.c.token_id == sa.bindparam("token"), entries.c.spki_sha256 == sa.bindparam("key")
    )
)
_certificate_by_serial = Prepared(_certificates.where(entries.c.serial == sa.bindparam("number")))
_renewal_by_key = Prepared(
    _certificates.where(
        entries.c.renews == sa.bindparam("number"), entries.c.spki_sha256 == sa.bindparam("key")
    )
)


@readable()
def token_by_id(connection: sa.Connection, token_id: str) -> StoredToken | None:
    """The token of that id, or None."""
    row = _token_by_id.one(connection, token=token_id)
    return None if row is None else _token(row)


@readable()
def unused_tokens(connection: sa.Connection, name: str, now: datetime) -> list[StoredToken]:
    """The tokens for exactly ``name`` that could still be used, if only by a key that waits."""
    used = (
        sa.select(sa.func.count())
        .where(is_kind(Kind.CERTIFICATE_ISSUED, _issued), _issued.c.token_id == entries.c.token_id)
        .scalar_subquery()
        .label("used")
    )
    current = _tokens.add_columns(used).where(
        entries.c.name == name,
        entries.c.ends_at > int(now.timestamp()),
        _revoked.c.at.is_(None),
    )
    found = [(_token(row), row.used) for row in connection.execute(current)]
    return [token for token, used in found if used < token.uses]


@readable()
def certificate_by_serial(connection: sa.Connection, serial: str) -> StoredCertificate | None:
    """The certificate that was issued with that serial number, or None."""
    row = _certificate_by_serial.one(connection, number=serial)
    return None if row is None else _certificate(row)


@readable()
def certificate_by_token_key(
    connection: sa.Connection, token_id: str, spki_sha256: bytes
) -> StoredCertificate | None:
    """The certificate that a token led to for that key, if this is asked for once more."""
    row = _certificate_by_token_key.one(connection, token=token_id, key=spki_sha256)
    return None if row is None else _certificate(row)


@readable()
def renewal_by_key(
    connection: sa.Connection, serial: str, spki_sha256: bytes
) -> StoredCertificate | None:
    """The certificate that renewed ``serial`` with that key, if this is asked for once more."""
    row = _renewal_by_key.one(connection, number=serial, key=spki_sha256)
    return None if row is None else _certificate(row)


@readable()
def valid_certificates(
    connection: sa.Connection, name: str, now: datetime
) -> list[StoredCertificate]:
    """Those of exactly ``name`` that have neither ended nor been revoked."""
    valid = _certificates.where(
        entries.c.name == name,
        entries.c.ends_at >= int(now.timestamp()),
        _revoked.c.at.is_(None),
    )
    return [_certificate(row) for row in connection.execute(valid)]


def has_own_certificate(connection: sa.Connection, serial: str) -> bool:
    """Whether one of the TTP's own certificates (root, issuing CA, TLS) is recorded."""
    own = sa.select(entries.c.sequence).where(
        is_kind(Kind.OWN_CERTIFICATE_ISSUED), entries.c.serial == serial
    )
    return connection.execute(own).first() is not None


@readable()
def own_certificates(connection: sa.Connection, name: str) -> list[OwnCertificate]:
    """The TTP's own certificates of that name (``root``, ``issuing``, …), oldest first."""
    rows = connection.execute(
        sa.select(entries.c.sequence, entries.c.at, entries.c.der, entries.c.body).where(
            is_kind(Kind.OWN_CERTIFICATE_ISSUED), entries.c.name == name
        )
    )
    bodies = ((row, msgspec.json.decode(row.body, type=OwnCertificateBody)) for row in rows)
    found = (
        OwnCertificate(row.sequence, moment(row.at), row.der, body.sealed_key, body.sealed_with)
        for row, body in bodies
    )
    # Asked for in this order, SQLite would go through the whole ledger.
    return sorted(found, key=lambda each: each.sequence)


def count_own_certificates(connection: sa.Connection, name: str) -> int:
    """How many there are of that name: whether another one was taken up, at little cost."""
    return connection.execute(
        sa.select(sa.func.count())
        .select_from(entries)
        .where(is_kind(Kind.OWN_CERTIFICATE_ISSUED), entries.c.name == name)
    ).scalar_one()


@readable()
def count_rows(connection: sa.Connection, *, after: int, root: str) -> LedgerCount:
    """Counts the rows beyond ``after``: all of them once, then the new ones.

    Args:
        connection: a reader's.
        after: the sequence of the last row that was counted before; 0: none was.
        root: the root's key identifier.
    """
    found = connection.execute(
        sa.select(entries.c.kind, sa.func.count().label("number"))
        .where(entries.c.sequence > after)
        .group_by(entries.c.kind)
    )
    rows = {str(row.kind): int(row.number) for row in found}
    until = connection.execute(sa.select(sa.func.max(entries.c.sequence))).scalar() or 0
    return LedgerCount(rows, until, crls.latest(connection, root))


def _token(row: sa.Row[tuple[object, ...]]) -> StoredToken:
    body = msgspec.json.decode(row.body, type=TokenBody)
    return StoredToken(
        token_id=row.token_id,
        grant=_grant(row.name, body),
        expires_at=moment(row.ends_at),
        secret_sha256=bytes.fromhex(body.secret_sha256),
        revoked_at=None if row.revoked_at is None else moment(row.revoked_at),
        used=bool(row.used),
        uses=body.uses,
        approve=body.approve,
    )


def _certificate(row: sa.Row[tuple[object, ...]]) -> StoredCertificate:
    body = msgspec.json.decode(row.body, type=CertificateBody)
    return StoredCertificate(
        serial=row.serial,
        grant=_grant(row.name, body),
        not_before=body.not_before,
        not_after=moment(row.ends_at),
        spki_sha256=row.spki_sha256,
        der=row.der,
        revoked_at=None if row.revoked_at is None else moment(row.revoked_at),
        issuer=row.issuer,
    )


def _grant(name: str, body: TokenBody | CertificateBody) -> Grant:
    # What a token lets a request ask for is in the names of the certificate that came of it.
    texts = body.allow_names if isinstance(body, TokenBody) else ()
    return Grant(
        name,
        body.sans,
        Profile(body.profile),
        timedelta(seconds=body.lifetime_s),
        tuple(map(NameRule.parse, texts)),
        tuple(map(KeyType, body.key_types)),
    )
