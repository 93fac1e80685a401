"""The ledger: what the TTP did, as rows that are only ever added, in one unbroken chain of MACs.

One writer thread owns the one writing connection; a coroutine hands it an operation (a function
that reads and appends inside a transaction) and waits for the result. Operations that arrive while
a commit runs share the next one: the fsync, which is most of the cost, is then paid once for all.
An operation that fails does not spoil the others of its group: if it had written nothing the group
goes on without it, else the group is rolled back and each operation is run again in a transaction
of its own. So an operation may run twice; it must have no effect but its rows.

A result is handed out only after its commit (on SQLite: WAL, synchronous=FULL): a process killed
at any moment has either told nobody or lost nothing. Other processes append beside this one; the
database orders the writers (:mod:`asynctls.ttp.storage`), and each transaction begins from the head
that it finds, after checking that the key made it.

When the connection to the database breaks, the writer makes another and runs its group again. If it
broke while a commit was under way, nobody knows whether the rows were kept: the next transaction,
which begins only when the broken one has ended, looks for their MAC, and so nothing is done twice.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import sqlalchemy as sa

from asynctls.errors import LedgerBrokenError, LedgerError
from asynctls.logger import get_logger
from asynctls.mac import TAG_BYTES, Secret, expand
from asynctls.ttp import audit, chain, storage
from asynctls.ttp.chain import EMPTY, Head, Value
from asynctls.ttp.observing import TTPObserver
from asynctls.ttp.schema import entries

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from asynctls.config import SecretText
    from asynctls.ttp.storage import Store

__all__ = ["Ledger", "Transaction"]

log = get_logger()

T = TypeVar("T")

GROUP = 64
"""Operations in one transaction at the most: the first of them waits for the last."""

_FILE = "ledger.db"
_KEY_FILE = "ledger.key"
_CLOSE_S = 2.0
# For how long a group is tried again over new connections: longer than PostgreSQL takes to restart,
# shorter than whoever asked waits for an answer.
_PATIENCE_S = 8.0
_PAUSES_S = (0.05, 0.1, 0.2, 0.5)
# Untyped: what somebody altered is to be found out by its MAC, and not by a conversion that fails.
_heads = sa.text("SELECT sequence, mac FROM entries ORDER BY sequence DESC LIMIT 1")
_link = sa.text("SELECT mac FROM entries WHERE sequence = :sequence")
_insert = sa.insert(entries)


class Transaction:
    """What an operation sees: the ledger as of now, and the way to add to it."""

    def __init__(self, connection: sa.Connection, key: Secret, head: Head) -> None:
        self.connection = connection
        self.head = head
        self.appended: list[tuple[dict[str, Value], Head]] = []
        self._key = key

    @property
    def next_sequence(self) -> int:
        """The sequence of the row that the next :meth:`append` makes; a CRL's number."""
        return self.head.sequence + 1

    def derived_key(self, purpose: bytes) -> Secret:
        """A key for something else, from the one that all TTPs of this ledger have (RFC 5869)."""
        return Secret(expand(self._key.reveal(), purpose, TAG_BYTES))

    def append(self, row: dict[str, Value]) -> Head:
        """Links ``row`` (from :func:`asynctls.ttp.schema.row_of`) to the chain and inserts it."""
        sequence, previous = self.next_sequence, self.head.mac
        tag = chain.link(self._key.reveal(), sequence, previous, row)
        self.connection.execute(
            _insert, {**row, "sequence": sequence, "previous": previous, "mac": tag}
        )
        self.head = Head(sequence, tag)
        self.appended.append((row, self.head))
        return self.head

    def adopt(self, rows: Sequence[Mapping[str, Value]]) -> None:
        """Inserts rows that this ledger's key linked before, as they stand: a backup's.

        They tell of decisions that were made before, so there is no audit event for them.

        Raises:
            LedgerBrokenError: one of them does not follow the row before it.
        """
        for row in rows:
            self.head = chain.follow(self._key.reveal(), self.head, row)
        if rows:
            self.connection.execute(_insert, list(rows))

    def has_link(self, head: Head) -> bool:
        """Whether that row is in the ledger, with that MAC."""
        return _has_link(self.connection, head)


@dataclass(slots=True)
class _Request(Generic[T]):
    operation: Callable[[Transaction], T]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[T]


@dataclass(frozen=True, slots=True)
class _Outcome(Generic[T]):
    request: _Request[T]
    result: T | None = None
    error: Exception | None = None

    def deliver(self) -> None:
        """Wakes the coroutine, unless it was cancelled meanwhile."""
        if self.request.future.done():
            return
        if self.error is not None:
            self.request.future.set_exception(self.error)
        else:
            self.request.future.set_result(self.result)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A commit that was sent, and whose answer is not here: its rows may be kept or not."""

    head: Head
    appended: list[tuple[dict[str, Value], Head]]
    outcomes: list[_Outcome[object]]


class _SpoiledError(Exception):
    """An operation failed after it had written: its group cannot be committed as it stands."""


class Ledger:
    """The coroutine face of the writer thread; an async context manager that ends it.

    Attributes:
        observer: is told of what was written.
    """

    def __init__(self, store: Store, key: Secret) -> None:
        self.observer = TTPObserver()
        self._store = store
        self._key = key
        self._trusted = EMPTY
        self._requests: queue.SimpleQueue[_Request[object] | None] = queue.SimpleQueue()
        self._closed = False
        self._closing = threading.Event()
        self._doubt: _Doubt | None = None
        self._connection: sa.Connection | None = None
        self._thread = threading.Thread(target=self._write_all, name="ledger", daemon=True)
        self._thread.start()

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
            self._closing.set()
            self._requests.put(None)
        await asyncio.to_thread(self._thread.join, _CLOSE_S)

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
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        started = time.monotonic()
        self._requests.put(_Request(operation, loop, future))  # type: ignore[arg-type]
        try:
            result = await future
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
        return await self.read(_head_of)

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
        try:
            with self._store.connect(self._store.reading) as connection, connection.begin():
                return query(connection)
        except sa.exc.DBAPIError as error:
            raise self._store.explain(error) from error

    def _write_all(self) -> None:
        """The writer thread: groups of requests, until close."""
        last = False
        while not last and (request := self._requests.get()) is not None:
            group, last = self._group(request)
            _deliver(self._commit(group))
        self._drop_connection()
        self._store.engine.dispose()

    def _group(self, first: _Request[object]) -> tuple[list[_Request[object]], bool]:
        """``first`` and what arrived since the last commit; and whether close was asked for."""
        group = [first]
        with suppress(queue.Empty):
            while len(group) < GROUP:
                request = self._requests.get_nowait()
                if request is None:
                    return group, True
                group.append(request)
        return group, False

    def _commit(self, group: list[_Request[object]]) -> list[_Outcome[object]]:
        """One transaction for the group, over as many connections as it takes. Never raises."""
        end = time.monotonic() + _PATIENCE_S
        pauses = iter(_PAUSES_S)
        pause = 0.0
        while True:
            try:
                return self._settle(group)
            except sa.exc.DBAPIError as error:
                pause = next(pauses, pause)
                if time.monotonic() + pause > end or self._closing.wait(pause):
                    doubt, self._doubt = self._doubt, None
                    explained = self._store.explain(error)
                    if doubt is not None:
                        explained = LedgerError(
                            f"{explained}; whether the last rows were recorded is not known, and "
                            "shows when it can be reached again"
                        )
                    return [_Outcome(each, error=explained) for each in group]

    def _settle(self, group: list[_Request[object]]) -> list[_Outcome[object]]:
        """One transaction for the group; if one of it spoils that, one for each.

        Raises:
            DBAPIError: the connection was lost; another may do better.
        """
        try:
            return self._transact(group)
        except sa.exc.DBAPIError as error:
            if self._store.lost(error):
                self._drop_connection()
                log.warning("ledger out of reach", reason=str(self._store.explain(error)))
                raise
            self._doubt = None
            if not isinstance(error, (sa.exc.IntegrityError, sa.exc.DataError)):
                # Disk or file: the others would meet it too. A fresh connection may not.
                self._drop_connection()
                return [_Outcome(each, error=self._store.explain(error)) for each in group]
            failed: Exception = self._store.explain(error)
        except _SpoiledError as error:
            failed = error.__cause__ if isinstance(error.__cause__, Exception) else error
        except Exception as error:  # noqa: BLE001, RUF100 - the thread must live; it is handed on
            self._doubt = None
            failed = error
        # The fault of one of them, whichever it is.
        if len(group) > 1:
            return [outcome for each in group for outcome in self._commit([each])]
        return [_Outcome(group[0], error=failed)]

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sa.exc.DBAPIError):
                connection.invalidate()
                connection.close()

    def _transact(self, group: list[_Request[object]]) -> list[_Outcome[object]]:
        if self._connection is None:
            self._connection = self._store.connect(self._store.writing)
        connection = self._connection
        with connection.begin() as begun:
            if (doubt := self._doubt) is not None:
                self._doubt = None
                if _has_link(connection, doubt.head):
                    begun.rollback()
                    return self._kept(doubt)
            head = self._trusted_head(connection)
            transaction = Transaction(connection, self._key, head)
            outcomes = [self._run(transaction, request) for request in group]
            done = _Doubt(transaction.head, transaction.appended, outcomes)
            if done.head is not head:
                self._doubt = done
            begun.commit()
            self._doubt = None
        return self._kept(done)

    def _run(self, transaction: Transaction, request: _Request[object]) -> _Outcome[object]:
        before = transaction.head
        try:
            return _Outcome(request, result=request.operation(transaction))
        except sa.exc.DBAPIError:
            raise
        except Exception as error:
            if transaction.head is not before:
                raise _SpoiledError from error
            return _Outcome(request, error=error)

    def _kept(self, done: _Doubt) -> list[_Outcome[object]]:
        """After a commit: what follows from its being lasting."""
        self._trusted = done.head
        for row, head in done.appended:
            audit.tell(row, head)
            self.observer.appended(row)
        return done.outcomes

    def _trusted_head(self, connection: sa.Connection) -> Head:
        """The head to go on from: ours, or another process's that the key vouches for."""
        head = _head_of(connection)
        if head.sequence < self._trusted.sequence:
            raise LedgerBrokenError(
                f"{self.name} ends at row {head.sequence}, though row "
                f"{self._trusted.sequence} was there before: rows were cut off, or an older copy "
                "was put in its place while this was running; stop the TTP and restore the ledger "
                "from a backup",
                sequence=head.sequence + 1,
            )
        if head != self._trusted and head.sequence:
            (row,) = storage.stream(connection, self.name, sequence=head.sequence)
            if not chain.holds(self._key.reveal(), row):
                raise LedgerBrokenError(
                    f"row {head.sequence}, the last of {self.name}, was altered, or "
                    "ledger.key is not this ledger's key; nothing is added to it. 'asynctls ttp "
                    "verify' shows where it breaks; put the right key back or restore from a "
                    "backup",
                    sequence=head.sequence,
                )
        return head


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


def _has_link(connection: sa.Connection, head: Head) -> bool:
    found = connection.execute(_link, {"sequence": head.sequence}).scalar()
    return found is not None and bytes(found) == head.mac


def _head_of(connection: sa.Connection) -> Head:
    found = connection.execute(_heads).one_or_none()
    return EMPTY if found is None else Head(found.sequence, found.mac)


def _deliver(outcomes: list[_Outcome[object]]) -> None:
    """Wakes the waiting coroutines, each loop once; a loop that is closed has nobody waiting."""
    loops: dict[asyncio.AbstractEventLoop, list[_Outcome[object]]] = {}
    for outcome in outcomes:
        loops.setdefault(outcome.request.loop, []).append(outcome)
    for loop, theirs in loops.items():
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_deliver_on_loop, theirs)


def _deliver_on_loop(outcomes: list[_Outcome[object]]) -> None:
    for outcome in outcomes:
        outcome.deliver()
