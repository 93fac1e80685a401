"""Where the ledger's rows live, whatever the database: opening it, its schema, its rows raw.

What one database does differently (how a writer takes its turn, what its errors mean) is a
:class:`Store` of its own: :mod:`asynctls.ttp.sqlite`, the default, and
:mod:`asynctls.ttp.postgres`, which several TTPs can share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from asynctls import state
from asynctls.errors import LedgerBrokenError, LedgerError, StateError
from asynctls.mac import Secret
from asynctls.ttp.schema import REVISION, entries

if TYPE_CHECKING:
    from collections.abc import Generator

    from asynctls.ttp.chain import Value

__all__ = ["Store", "prepare", "stream"]

_MIGRATIONS = Path(__file__).with_name("migrations")
_KEY_BYTES = 32


class Store(ABC):
    """One database that holds a ledger.

    Attributes:
        name: the database, as a message names it; without a secret.
        engine: SQLAlchemy's way to it; its transactions begin as ``reading`` or ``writing`` say.
        reading: execution options for a connection that reads: one consistent view.
        writing: execution options for a connection that writes: one writer at a time, which sees
            all that was committed before its turn.
        migrating: likewise, for one that brings the schema to ours, which may take long.
        keyless: what to do when the ledger's key is not in the state folder.
    """

    name: str
    engine: sa.Engine
    reading: Final[dict[str, object]]
    writing: Final[dict[str, object]]
    migrating: Final[dict[str, object]]
    keyless: str

    def __init__(
        self,
        name: str,
        engine: sa.Engine,
        *,
        reading: dict[str, object],
        writing: dict[str, object],
        migrating: dict[str, object],
        keyless: str,
    ) -> None:
        self.name = name
        self.engine = engine
        self.reading = reading
        self.writing = writing
        self.migrating = migrating
        self.keyless = keyless

    def connect(self, options: dict[str, object]) -> sa.Connection:
        """A connection whose transactions are as ``reading`` or ``writing`` says."""
        return self.engine.connect().execution_options(**options)

    @abstractmethod
    def explain(self, error: sa.exc.DBAPIError) -> LedgerError:
        """The error in words that say what to do about it."""

    @abstractmethod
    def lost(self, error: sa.exc.DBAPIError) -> bool:
        """Whether only the connection failed, so that another one may do what this one did not."""


def prepare(store: Store, key_path: Path, *, must_exist: bool) -> Secret:
    """Brings the database's schema to ours and gives the ledger's key; blocking.

    The key of a new ledger is written inside the transaction that makes the table, so of two
    processes that start at once one makes both and the other finds them.

    Args:
        store: the database.
        key_path: the key's file.
        must_exist: whether there must be a ledger in it, since there is a CA; an empty database in
            its place would have forgotten who was revoked.

    Raises:
        LedgerError: it cannot be opened; says why and what to do.
    """
    try:
        with store.connect(store.reading) as connection, connection.begin():
            revision = _revision(connection)
            due = revision != REVISION or not key_path.exists()
            # The schema, and not a row: a first start may have been killed just before that.
            if must_exist and revision is None:
                raise LedgerError(
                    f"the ledger {store.name} is empty, though there is a CA in "
                    f"{key_path.parent}: what was issued and revoked stood in it; restore it from "
                    "a backup"
                )
        if due:
            with store.connect(store.migrating) as connection, connection.begin():
                _migrate(connection, store)
                _make_key(connection, key_path)
        key = state.read_private(key_path)
    except sa.exc.DBAPIError as error:
        raise store.explain(error) from error
    except FileNotFoundError as error:
        raise LedgerError(
            f"{key_path} is missing: without it the ledger cannot be checked or written; "
            f"{store.keyless}"
        ) from error
    if len(key) != _KEY_BYTES:
        raise LedgerError(
            f"{key_path} is not a ledger's key (32 bytes); put the right file back, or restore the "
            "state folder from a backup"
        )
    return Secret(key)


def stream(
    connection: sa.Connection, name: str, *, sequence: int = 0, alone: bool = False
) -> Generator[dict[str, Value]]:
    """Every row from ``sequence`` on, exactly as it is stored: no type is converted or assumed.

    Close it (``contextlib.closing``) if you may not read it to its end: it holds a cursor.

    Args:
        connection: in a transaction.
        name: what an error calls the ledger.
        sequence: the first row's.
        alone: that row and no other; PostgreSQL then needs no cursor, which is three statements.

    Raises:
        LedgerBrokenError: a row that cannot even be read as one.
    """
    names = [column.name for column in entries.columns]
    which = "= :sequence" if alone else ">= :sequence ORDER BY sequence"
    statement = sa.text(f"SELECT {', '.join(names)} FROM entries WHERE sequence {which}")  # noqa: S608 - our own names
    if not alone:
        statement = statement.execution_options(yield_per=256)
    last = sequence - 1
    try:
        with connection.execute(statement, {"sequence": sequence}) as rows:
            for row in rows:
                found: dict[str, Value] = dict(zip(names, row, strict=True))
                if isinstance(found["sequence"], int):
                    last = found["sequence"]
                yield found
    except sa.exc.DBAPIError as error:
        if "UTF-8" not in str(error.orig):
            raise
        raise LedgerBrokenError(
            f"a row of {name} after row {max(last, 0)} was altered (its text is no text); restore "
            "it from a backup, and find out who could write to the state folder",
            sequence=max(last, 0) + 1,
        ) from error


def _revision(connection: sa.Connection) -> str | None:
    """The schema's revision as Alembic wrote it; None in a new database."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(connection: sa.Connection, store: Store) -> None:
    """Brings the schema to ours, inside the caller's transaction."""
    revision = _revision(connection)
    if revision == REVISION:
        return
    # Alembic takes longer to import than a command takes to run, and is needed once a schema.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise LedgerError(
            f"the ledger {store.name} was written by a newer asynctls (schema {revision}; this one "
            f"knows {REVISION} and older): use the newer program, or restore an older backup"
        )
    command.upgrade(config, REVISION)


def _make_key(connection: sa.Connection, key_path: Path) -> None:
    if key_path.exists():
        return
    if connection.execute(sa.select(entries.c.sequence).limit(1)).first() is not None:
        raise FileNotFoundError(key_path)
    try:
        state.write_atomically(key_path, Secret.random().reveal())
    except StateError as error:
        raise LedgerError(f"a key for the new ledger cannot be written: {error}") from error
