"""The ledger in a file: SQLite, as SQLAlchemy sees it, and what can go wrong with it.

The stdlib driver's implicit transactions are off (``isolation_level=None``) and transactions are
begun by hand, as SQLAlchemy's documentation of the driver advises: ``BEGIN IMMEDIATE`` for a
writer, so that two of them queue up and none reads a head that another is about to move.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import sqlalchemy as sa

from asynctls.errors import LedgerError
from asynctls.ttp.statements import Prepared
from asynctls.ttp.storage import Store

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["SQLite"]

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another process's transaction (the CA's RSA keys are made in one)."""

_WRITING = "asynctls_writing"
_BEGIN = Prepared(sa.text("BEGIN"))
_BEGIN_WRITING = Prepared(sa.text("BEGIN IMMEDIATE"))
# It waits for nobody: what a reader still needs is synced where it lies.
_CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"
_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    # macOS: its fsync alone ends at the drive's cache, which a power failure empties.
    "fullfsync = ON",
    "foreign_keys = ON",
    "trusted_schema = OFF",
)


class SQLite(Store):
    """A ledger in one file of the state folder."""

    def __init__(self, path: Path, *, must_exist: bool) -> None:
        """Opens the file, or makes it unless it ``must_exist``; blocking.

        Raises:
            LedgerError: it cannot be opened, or is not there; says why and what to do.
        """
        if must_exist and not (path.exists() and path.stat().st_size):
            raise LedgerError(
                f"{path} is missing or empty, though there is a CA beside it: what was issued and "
                "revoked stands in it; restore the state folder from a backup"
            )
        try:
            # Made here and not by SQLite, so that it is never anything but 0600, its -wal included.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise LedgerError(
                f"the ledger {path} cannot be opened: {error.strerror}; it must be a file that "
                "this user can write, on a disk that is not read-only"
            ) from error
        super().__init__(
            str(path),
            _engine(path),
            reading={},
            writing={_WRITING: True},
            migrating={_WRITING: True},
            keyless="put it back, or restore the state folder from a backup",
        )

    def connect(self, options: dict[str, object]) -> sa.Connection:
        """As of every store; one that writes builds on nothing that is not on the disk.

        After an fsync that failed, SQLite reads what it could not keep all the same, once the file
        is opened anew: what is there would count, and be lost with the next power failure.

        Raises:
            DBAPIError: it cannot be opened, or the disk still keeps nothing.
        """
        connection = super().connect(options)
        if _WRITING in options:
            try:
                _make_lasting(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def lost(self, error: sa.exc.DBAPIError) -> bool:
        """Never: there is no connection that could fail by itself."""
        del error
        return False

    def explain(self, error: sa.exc.DBAPIError) -> LedgerError:
        """By SQLite's own name for the error."""
        name = getattr(error.orig, "sqlite_errorname", None) or ""
        match name.removeprefix("SQLITE_").split("_")[0]:
            case "FULL":
                words = "the disk is full; nothing was recorded. Free some space and try again"
            case "READONLY" | "PERM" | "AUTH":
                words = (
                    "it is read-only for this process; nothing was recorded. Check disk and owner"
                )
            case "CORRUPT" | "NOTADB":
                words = "the file is damaged, or no ledger; restore the state folder from a backup"
            case "BUSY" | "LOCKED":
                words = (
                    f"another process kept it locked for {BUSY_TIMEOUT_S:g} s; nothing was "
                    "recorded. Try again, and see what else uses the state folder"
                )
            case "CANTOPEN":
                words = (
                    f"{error.orig}; nothing was recorded. Check disk and owner, and whether this "
                    "process may have more open files"
                )
            case "IOERR":
                words = (
                    f"the disk gives an error ({error.orig}); nothing more is recorded. Check it"
                )
            case "CONSTRAINT":
                words = f"it has such a record already ({error.orig}); nothing was recorded twice"
            case _:
                words = f"{error.orig}; is it a ledger? If it is, restore it from a backup"
        return LedgerError(f"the ledger {self.name} cannot be used: {words}")


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


def _make_lasting(connection: sa.Connection) -> None:
    # By the driver, since a checkpoint cannot run in a transaction, which SQLAlchemy would begin.
    cursor = connection.connection.cursor()
    try:
        cursor.execute(_CHECKPOINT)
    except sqlite3.Error as error:
        raise sa.exc.OperationalError(_CHECKPOINT, None, error) from error
    finally:
        cursor.close()


def _on_begin(connection: sa.Connection) -> None:
    begin = _BEGIN_WRITING if _WRITING in connection.get_execution_options() else _BEGIN
    begin.run(connection, {})
