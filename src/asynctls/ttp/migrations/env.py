"""Alembic's entry: migrates over the connection, and in the transaction, of the ledger's writer."""

from __future__ import annotations

from alembic import context

from asynctls.ttp.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata(),
    render_as_batch=True,
)
context.run_migrations()
