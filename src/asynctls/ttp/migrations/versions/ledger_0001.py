"""The ledger's first schema: one table of entries, chained by MACs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None

_INDEXES = (
    ("one_token_an_id", "token created", ("token_id",), True),
    ("tokens_by_name", "token created", ("name",), False),
    ("one_certificate_a_serial", "certificate issued", ("serial",), True),
    ("one_certificate_a_token_key", "certificate issued", ("token_id", "spki_sha256"), True),
    ("one_certificate_a_renewal_key", "certificate issued", ("renews", "spki_sha256"), True),
    ("certificates_by_name", "certificate issued", ("name",), False),
    ("one_own_certificate_a_serial", "own certificate issued", ("serial",), True),
    ("one_revocation_a_certificate", "certificate revoked", ("serial",), True),
    ("one_revocation_a_token", "token revoked", ("token_id",), True),
    ("crls_by_issuer", "crl signed", ("name", "sequence"), True),
)


def upgrade() -> None:
    """Makes the table and its indexes."""
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "entries",
        sa.Column("sequence", whole, primary_key=True, autoincrement=False),
        sa.Column("previous", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at", whole, nullable=False),
        sa.Column("token_id", sa.Text),
        sa.Column("serial", sa.Text),
        sa.Column("renews", sa.Text),
        sa.Column("name", sa.Text),
        sa.Column("spki_sha256", sa.LargeBinary),
        sa.Column("ends_at", whole),
        sa.Column("der", sa.LargeBinary),
        sa.Column("body", sa.Text, nullable=False),
    )
    for name, kind, columns, unique in _INDEXES:
        where = sa.text(f"kind = '{kind}'")
        op.create_index(
            name,
            "entries",
            list(columns),
            unique=unique,
            sqlite_where=where,
            postgresql_where=where,
        )
