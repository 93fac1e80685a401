"""The ledger's one table, and the rows that it holds.

One table ``entries`` for all kinds of row, and not a table for each kind: the chain is then one
insert, ``verify`` streams one table, and no row can exist outside the chain. What a query looks
for (token, serial, name, key, end) is a column of its own with partial indexes over just the kind
of row that it belongs to; what is only ever shown is JSON in ``body``. Every column but ``mac`` is
under the MAC (:mod:`asynctls.ttp.chain`), ``body`` and ``der`` as they stand, byte for byte.

The partial unique indexes are the last line of defence for what the authority checks first: one
certificate for each serial number, for each key of a token, for each key of a renewal; one
revocation for each certificate and each token.

Rows are never updated. A change to this table is a migration (``migrations/versions``) and a new
:data:`REVISION`.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime  # noqa: TC003 - msgspec reads it
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Final

import msgspec
import sqlalchemy as sa

from asynctls.errors import CertificateError, LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynctls.ttp.chain import Value

__all__ = [
    "REVISION",
    "ApprovalBody",
    "CRLBody",
    "CertificateBody",
    "Kind",
    "OwnCertificateBody",
    "PendingBody",
    "RefusalBody",
    "RefusalsBody",
    "RevocationBody",
    "TokenBody",
    "entries",
    "is_kind",
    "metadata",
    "readable",
    "row_of",
]

REVISION: Final = "0002"
"""The schema that this program knows, as Alembic names it."""


class Kind(StrEnum):
    """What a row records."""

    TOKEN_CREATED = "token created"  # noqa: S105 - no password
    CERTIFICATE_ISSUED = "certificate issued"
    OWN_CERTIFICATE_ISSUED = "own certificate issued"
    ENROLMENT_PENDING = "enrolment pending"
    ENROLMENT_APPROVED = "enrolment approved"
    ENROLMENT_REFUSED = "enrolment refused"
    REFUSALS_COUNTED = "refusals counted"
    TOKEN_REVOKED = "token revoked"  # noqa: S105 - no password
    CERTIFICATE_REVOKED = "certificate revoked"
    CRL_SIGNED = "crl signed"


class TokenBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A grant: what the token's holder may be certified as, and how often."""

    sans: tuple[str, ...]
    profile: str
    lifetime_s: int
    secret_sha256: str
    allow_names: tuple[str, ...] = ()
    key_types: tuple[str, ...] = ()
    uses: int = 1
    approve: bool = False


class CertificateBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a renewal needs to know of a certificate, beside the certificate itself."""

    sans: tuple[str, ...]
    profile: str
    lifetime_s: int
    not_before: datetime
    address: str = ""
    key_types: tuple[str, ...] = ()


class OwnCertificateBody(CertificateBody, frozen=True, kw_only=True):
    """One of the TTP's own; with its key, sealed, where other TTPs need that.

    ``sealed_with`` tells whether they have the same passphrase (`ttp.sealing.mark`).
    """

    sealed_key: str = ""
    sealed_with: str = ""


class RefusalBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why somebody was sent away, and from where they came.

    ``left_out`` counts the refusals of the same credential that have no row, before this one.
    """

    rule: str
    reason: str
    address: str
    left_out: int = 0


class RefusalsBody(msgspec.Struct, frozen=True, kw_only=True):
    """How many were sent away without a row of their own, by rule, and since when."""

    counts: dict[str, int]
    since: datetime


class PendingBody(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is to approve: the names that the certificate would have, for which key."""

    sans: tuple[str, ...]
    profile: str
    key_type: str
    address: str


class ApprovalBody(msgspec.Struct, frozen=True, kw_only=True):
    """Which waiting request was approved: its row's sequence."""

    request: int


class RevocationBody(msgspec.Struct, frozen=True, kw_only=True):
    """The reason of a revocation, as RFC 5280, section 5.3.1, names it."""

    reason: str


class CRLBody(msgspec.Struct, frozen=True, kw_only=True):
    """When a CRL was signed; its nextUpdate is the row's ``ends_at``.

    ``number`` is that of one that was signed elsewhere; else a CRL's number is its row's sequence.
    """

    this_update: datetime
    number: int | None = None


Body = (
    TokenBody
    | CertificateBody
    | RefusalBody
    | RefusalsBody
    | PendingBody
    | ApprovalBody
    | RevocationBody
    | CRLBody
)

_whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

entries = sa.Table(
    "entries",
    sa.MetaData(),
    sa.Column("sequence", _whole, primary_key=True, autoincrement=False),
    sa.Column("previous", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("mac", sa.LargeBinary, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at", _whole, nullable=False),
    sa.Column("token_id", sa.Text),
    sa.Column("serial", sa.Text),
    sa.Column("renews", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("spki_sha256", sa.LargeBinary),
    sa.Column("ends_at", _whole),
    sa.Column("der", sa.LargeBinary),
    sa.Column("body", sa.Text, nullable=False),
    # Which CA signed (its key identifier, hex); NULL before schema 0002, when there was only one.
    sa.Column("issuer", sa.Text),
)


def is_kind(kind: Kind, table: sa.FromClause = entries) -> sa.ColumnElement[bool]:
    """The condition ``kind = '…'`` with the kind written out, so that a partial index serves."""
    return table.c.kind == sa.literal_column(f"'{kind.value}'")


_INDEXES: Final = (
    ("one_token_an_id", Kind.TOKEN_CREATED, ("token_id",), True),
    ("tokens_by_name", Kind.TOKEN_CREATED, ("name",), False),
    ("one_certificate_a_serial", Kind.CERTIFICATE_ISSUED, ("serial",), True),
    ("one_certificate_a_token_key", Kind.CERTIFICATE_ISSUED, ("token_id", "spki_sha256"), True),
    ("one_certificate_a_renewal_key", Kind.CERTIFICATE_ISSUED, ("renews", "spki_sha256"), True),
    ("certificates_by_name", Kind.CERTIFICATE_ISSUED, ("name",), False),
    ("one_own_certificate_a_serial", Kind.OWN_CERTIFICATE_ISSUED, ("serial",), True),
    ("one_revocation_a_certificate", Kind.CERTIFICATE_REVOKED, ("serial",), True),
    ("one_revocation_a_token", Kind.TOKEN_REVOKED, ("token_id",), True),
    ("crls_by_issuer", Kind.CRL_SIGNED, ("name", "sequence"), True),
    ("crls_by_ca", Kind.CRL_SIGNED, ("issuer", "sequence"), True),
    ("one_request_a_token_key", Kind.ENROLMENT_PENDING, ("token_id", "spki_sha256"), True),
    ("one_approval_a_token_key", Kind.ENROLMENT_APPROVED, ("token_id", "spki_sha256"), True),
)
"""Each index: its name, the kind of row that it is about, its columns, whether it is unique."""


@cache
def metadata() -> sa.MetaData:
    """The table with its indexes, as migrations and tests want it.

    Declared when it is asked for: to name one of its settings makes SQLAlchemy import PostgreSQL's
    dialect, which no admin verb on SQLite should wait for.
    """
    for name, kind, columns, unique in _INDEXES:
        where = sa.text(f"kind = '{kind.value}'")
        sa.Index(
            name,
            *(entries.c[column] for column in columns),
            unique=unique,
            sqlite_where=where,
            postgresql_where=where,
        )
    return entries.metadata


_NAMES = tuple(column.name for column in entries.columns)
_encoder = msgspec.json.Encoder(order="deterministic")


def row_of(kind: Kind, body: Body, *, at: int, **columns: Value) -> dict[str, Value]:
    """A row that the chain has not linked yet: every column but sequence, previous and mac.

    Args:
        kind: what it records.
        body: the rest, kept as JSON.
        at: when, in whole seconds since 1970.
        **columns: the other columns; those not named are NULL.
    """
    row: dict[str, Value] = dict.fromkeys(_NAMES[3:])
    row.update(columns)
    row |= {"kind": kind.value, "at": at, "body": _encoder.encode(body).decode()}
    return row


_ODD_CONTENT = (TypeError, ValueError, OverflowError, RecursionError)


@contextmanager
def readable() -> Iterator[None]:
    """Turns what a row of the wrong content raises, whatever that is, into our words."""
    try:
        yield
    except (CertificateError, msgspec.MsgspecError, *_ODD_CONTENT) as error:
        raise LedgerError(
            f"a row of the ledger cannot be read ({error}): it was altered; 'asynctls ttp verify' "
            "says which"
        ) from error
