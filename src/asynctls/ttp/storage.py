"""Where the ledger's rows live: SQLite, as SQLAlchemy sees it, and what can go wrong with it.

The stdlib driver's implicit transactions are off (``isolation_level=None``) and transactions are
begun by hand, as SQLAlchemy's documentation of the driver advises: ``BEGIN IMMEDIATE`` for a
writer, so that two of them queue up and none reads a head that another is about to move.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from asynctls import state
from asynctls.errors import LedgerBrokenError, LedgerError, StateError
from asynctls.mac import Secret
from asynctls.ttp.schema import REVISION, entries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    from asynctls.ttp.chain import Value

__all__ = ["WRITING", "ledger_error", "prepare", "stream"]

WRITING: Final = {"asynctls_writing": True}
"""Execution options of a connection whose transactions write."""

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another process's transaction (the CA's RSA keys are made in one)."""

_MIGRATIONS = Path(__file__).with_name("migrations")
_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    # macOS: its fsync alone ends at the drive's cache, which a power failure empties.
    "fullfsync = ON",
    "foreign_keys = ON",
    "trusted_schema = OFF",
)


def prepare(path: Path, key_path: Path) -> tuple[sa.Engine, Secret]:
    """Opens the ledger file at ``path``, migrated, and its key; blocking.

    The key of a new ledger is written inside the transaction that makes the table, so of two
    processes that start at once one makes both and the other finds them.

    Raises:
        LedgerError: it cannot be opened; says why and what to do.
    """
    try:
        # Made here and not by SQLite, so that it is never anything but 0600, its -wal included.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise LedgerError(
            f"the ledger {path} cannot be opened: {error.strerror}; it must be a file that this "
            "user can write, on a disk that is not read-only"
        ) from error
    engine = _engine(path)
    try:
        with engine.connect() as connection, connection.begin():
            due = _revision(connection) != REVISION or not key_path.exists()
        if due:
            with engine.connect().execution_options(**WRITING) as connection, connection.begin():
                _migrate(connection, path)
                _make_key(connection, key_path)
        key = state.read_private(key_path)
    except sa.exc.DBAPIError as error:
        raise ledger_error(path, error) from error
    except FileNotFoundError as error:
        raise LedgerError(
            f"{key_path} is missing: without it the ledger cannot be checked or written; put it "
            "back, or restore the state folder from a backup"
        ) from error
    if len(key) != 32:
        raise LedgerError(
            f"{key_path} is not a ledger's key (32 bytes); put the right file back, or restore the "
            "state folder from a backup"
        )
    return engine, Secret(key)


def stream(
    connection: sa.Connection, path: Path, *, sequence: int = 0
) -> Iterator[dict[str, Value]]:
    """Every row from ``sequence`` on, exactly as the file has it: no type is converted or assumed.

    Raises:
        LedgerBrokenError: a row that cannot even be read as one.
    """
    names = [column.name for column in entries.columns]
    statement = sa.text(
        f"SELECT {', '.join(names)} FROM entries WHERE sequence >= :sequence ORDER BY sequence"  # noqa: S608 - our own names
    ).execution_options(yield_per=256)
    last = sequence - 1
    try:
        for row in connection.execute(statement, {"sequence": sequence}):
            found: dict[str, Value] = dict(zip(names, row, strict=True))
            if isinstance(found["sequence"], int):
                last = found["sequence"]
            yield found
    except sa.exc.DBAPIError as error:
        if "UTF-8" not in str(error.orig):
            raise
        raise LedgerBrokenError(
            f"a row of {path} after row {max(last, 0)} was altered (its text is no text); restore "
            "it from a backup, and find out who could write to the state folder",
            sequence=max(last, 0) + 1,
        ) from error


def ledger_error(path: Path, error: sa.exc.DBAPIError) -> LedgerError:
    """The error in words that say what to do about it."""
    name = getattr(error.orig, "sqlite_errorname", None) or ""
    match name.removeprefix("SQLITE_").split("_")[0]:
        case "FULL":
            words = "the disk is full; nothing was recorded. Free some space and try again"
        case "READONLY" | "PERM" | "AUTH":
            words = "it is read-only for this process; nothing was recorded. Check disk and owner"
        case "CORRUPT" | "NOTADB":
            words = "the file is damaged, or no ledger; restore the state folder from a backup"
        case "BUSY" | "LOCKED":
            words = (
                f"another process kept it locked for {BUSY_TIMEOUT_S:g} s; nothing was recorded. "
                "Try again, and see what else uses the state folder"
            )
        case "CANTOPEN" | "IOERR":
            words = f"the disk gives an error ({error.orig}); nothing more is recorded. Check it"
        case "CONSTRAINT":
            words = f"it has such a record already ({error.orig}); nothing was recorded twice"
        case _:
            words = f"{error.orig}; is it a ledger? If it is, restore it from a backup"
    return LedgerError(f"the ledger {path} cannot be used: {words}")


def _engine(path: Path) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=sa.NullPool,
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_S},
    )
    sa.event.listen(engine, "connect", _on_connect)
    sa.event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    try:
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
    finally:
        cursor.close()


def _on_begin(connection: sa.Connection) -> None:
    writing = connection.get_execution_options().keys() >= WRITING.keys()
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _revision(connection: sa.Connection) -> str | None:
    """The schema's revision as Alembic wrote it; None in a new file."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(connection: sa.Connection, path: Path) -> None:
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
            f"the ledger {path} was written by a newer asynctls (schema {revision}; this one knows "
            f"{REVISION} and older): use the newer program, or restore an older backup"
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
