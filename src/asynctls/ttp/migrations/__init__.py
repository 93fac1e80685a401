"""The ledger's schema as Alembic migrations; in the package, so that the wheel has them."""
