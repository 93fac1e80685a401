"""Rows say which CA signed, and requests may wait for a person's approval."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"

_INDEXES = (
    ("crls_by_ca", "crl signed", ("issuer", "sequence")),
    ("one_request_a_token_key", "enrolment pending", ("token_id", "spki_sha256")),
    ("one_approval_a_token_key", "enrolment approved", ("token_id", "spki_sha256")),
)


def upgrade() -> None:
    """Adds the column, NULL in all rows that are there: so their MACs hold."""
    op.add_column("entries", sa.Column("issuer", sa.Text))
    for name, kind, columns in _INDEXES:
        where = sa.text(f"kind = '{kind}'")
        op.create_index(
            name,
            "entries",
            list(columns),
            unique=True,
            sqlite_where=where,
            postgresql_where=where,
        )
