"""The ledger: what the TTP did, as rows that are only ever added, in one unbroken chain of MACs.

One writer thread owns the one writing connection; a coroutine hands it an operation (a function
that reads and appends inside a transaction) and waits for the result: :mod:`asynctls.ttp.writer`.

A result is handed out only after its commit (on SQLite: WAL, synchronous=FULL): a process killed
at any moment has either told nobody or lost nothing. Other processes append beside this one; the
database orders the writers (:mod:`asynctls.ttp.storage`), and each transaction begins from the head
that it finds, after checking that the key made it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import TYPE_CHECKING, Self, TypeVar

import sqlalchemy as sa

from asynctls.errors import LedgerBrokenError, LedgerError
from asynctls.ttp import chain, storage
from asynctls.ttp.chain import EMPTY, Head
from asynctls.ttp.reach import Reach
from asynctls.ttp.transactions import Transaction, head_of
from asynctls.ttp.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from asynctls.config import SecretText
    from asynctls.mac import Secret
    from asynctls.ttp.chain import Value
    from asynctls.ttp.observing import TTPObserver
    from asynctls.ttp.storage import Store

__all__ = ["Ledger"]

T = TypeVar("T")

_FILE = "ledger.db"
_KEY_FILE = "ledger.key"
_CLOSE_S = 2.0


class Ledger:
    """The coroutine face of the writer thread; an async context manager that ends it."""

    def __init__(self, store: Store, key: Secret) -> None:
        self._store = store
        self._key = key
        self._reach = Reach()
        self._writer = Writer(store, key, self._reach)
        self._closed = False

    @classmethod
    async def open(
        cls, folder: Path, *, database: SecretText | None = None, must_exist: bool = False
    ) -> Ledger:
        """Opens the ledger of a state folder with ``ledger.key`` in it.

        Args:
            folder: the state folder.
            database: the URL of a PostgreSQL database; None: ``ledger.db`` in ``folder``.
            must_exist: whether there must be a ledger already, since there is a CA: in its place a
                new one would have forgotten who was revoked. Else what is missing is made.

        Raises:
            LedgerError: the ledger is gone, cannot be read or written, is of a newer schema than
                this program knows, or its key is missing.
        """

        def prepare() -> tuple[Store, Secret]:
            store = _store(folder, database, must_exist=must_exist)
            return store, storage.prepare(store, folder / _KEY_FILE, must_exist=must_exist)

        store, key = await asyncio.to_thread(prepare)
        return cls(store, key)

    @property
    def name(self) -> str:
        """The database, as a message names it; without a secret."""
        return self._store.name

    @property
    def observer(self) -> TTPObserver:
        """Is told of what was written."""
        return self._writer.observer

    @observer.setter
    def observer(self, observer: TTPObserver) -> None:
        self._writer.observer = observer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Finishes what was asked for, then ends the writer thread. May be called twice.

        A writer that is held up, as by another process's lock, is waited for two seconds and then
        left to itself: whoever stops a TTP twice means at once.
        """
        if not self._closed:
            self._closed = True
            self._writer.close()
        await asyncio.to_thread(self._writer.join, _CLOSE_S)

    async def write(self, operation: Callable[[Transaction], T]) -> T:
        """Runs ``operation`` in the writer thread and returns its result once it is committed.

        Whatever the operation raises is raised here, and its rows are not kept.

        Raises:
            LedgerError: the rows could not be written; none of them is in the ledger. (Only when
                the database went away for long while it was writing them, that is not known; the
                error says so.)
            LedgerBrokenError: the last row is not one that this ledger's key made; nothing is
                added to a chain that does not hold.
        """
        if self._closed:
            raise LedgerError(f"{self.name} was closed while something still wanted to write to it")
        started = time.monotonic()
        try:
            result = await self._writer.submit(operation)
        except LedgerError:
            self.observer.not_committed()
            raise
        self.observer.committed(time.monotonic() - started)
        return result

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        """Runs ``query`` in another thread over one consistent view of the ledger.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        return await asyncio.to_thread(self._read_now, query)

    async def head(self) -> Head:
        """The last link of the chain as it is on disk now, whoever added it."""
        return await self.read(head_of)

    async def verify(self, *, head: Head | None = None) -> Head:
        """Checks the whole chain; see :func:`asynctls.ttp.chain.verify`.

        Raises:
            LedgerBrokenError: with the first bad row's sequence.
            LedgerError: the ledger cannot be read.
        """

        def follow(connection: sa.Connection) -> Head:
            with closing(storage.stream(connection, self.name)) as rows:
                return chain.verify(rows, self._key.reveal(), head=head)

        return await self.read(follow)

    async def copy(self, take: Callable[[Iterator[Mapping[str, Value]]], T], *, head: Head) -> T:
        """Hands every row up to ``head`` to ``take``, each checked, in a thread of its own.

        Raises:
            LedgerBrokenError: the chain does not hold, or has no such head.
            LedgerError: the ledger cannot be read.
        """

        def checked(connection: sa.Connection) -> Generator[Mapping[str, Value]]:
            last = EMPTY
            with closing(storage.stream(connection, self.name)) as rows:
                for row in rows:
                    last = chain.follow(self._key.reveal(), last, row)
                    yield row
                    if last == head:
                        return
            raise LedgerBrokenError(
                f"{self.name} ends at row {last.sequence} and does not hold row {head.sequence} as "
                "it was a moment ago; 'asynctls ttp verify' checks it",
                sequence=last.sequence + 1,
            )

        def read(connection: sa.Connection) -> T:
            with closing(checked(connection)) as rows:
                return take(rows)

        return await self.read(read)

    def _read_now(self, query: Callable[[sa.Connection], T]) -> T:
        away = self._reach.refusal()
        if away is not None:
            raise away
        try:
            with self._store.connect(self._store.reading) as connection, connection.begin():
                self._reach.found()
                return query(connection)
        except sa.exc.DBAPIError as error:
            failure = self._store.explain(error)
            if self._store.lost(error):
                self._reach.lost(failure)
            else:
                self._reach.found()
            raise failure from error


def _store(folder: Path, database: SecretText | None, *, must_exist: bool) -> Store:
    # Each imports a driver of its own, and a command that starts wants one of them.
    if database is None:
        from asynctls.ttp.sqlite import SQLite  # noqa: PLC0415

        return SQLite(folder / _FILE, must_exist=must_exist)
    try:
        from asynctls.ttp.postgres import PostgreSQL  # noqa: PLC0415
    except ImportError as error:
        raise LedgerError(
            "a ledger on PostgreSQL needs psycopg, which is not installed here: install asynctls "
            f"with its extra 'postgres' ({error})"
        ) from error
    return PostgreSQL(database)
