"""The ledger's writer: one thread with the one writing connection, and commits for whole groups.

Operations (functions that read and append inside a transaction) that arrive in one turn of the
loop, while a commit runs, or while others are run, share one transaction: the fsync, and what a
transaction asks of a database by itself, are then paid once for all. An operation that fails does
not spoil the others of its group: if it had written nothing the group goes on without it, else the
group is rolled back and each operation is run again in a transaction of its own. So an operation
may run twice; it must have no effect but its rows.

When the connection to the database breaks, the writer makes another and runs its group again. If it
broke while a commit was under way, nobody knows whether the rows were kept: the next transaction,
which begins only when the broken one has ended, looks for their MAC, and so nothing is done twice.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

import sqlalchemy as sa

from asynctls.errors import LedgerBrokenError, LedgerError
from asynctls.ttp import audit, chain, storage
from asynctls.ttp.chain import EMPTY, Head, Value
from asynctls.ttp.observing import TTPObserver
from asynctls.ttp.transactions import Transaction, has_link, head_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.mac import Secret
    from asynctls.ttp.reach import Reach
    from asynctls.ttp.storage import Store

__all__ = ["Writer"]

T = TypeVar("T")

GROUP = 64
"""Operations in one transaction at the most: the first of them waits for the last."""

# For how long a group is tried again over new connections: longer than PostgreSQL takes to restart,
# shorter than whoever asked waits for an answer.
_PATIENCE_S = 8.0
_PAUSES_S = (0.05, 0.1, 0.2, 0.5)


@dataclass(slots=True)
class _Request(Generic[T]):
    operation: Callable[[Transaction], T]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[T]
    asked_at: float


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


class Writer:
    """The thread, from its making to its end.

    Attributes:
        observer: is told of what was written.
    """

    def __init__(self, store: Store, key: Secret, reach: Reach) -> None:
        self.observer = TTPObserver()
        self._reach = reach
        self._store = store
        self._key = key
        self._trusted = EMPTY
        self._requests: queue.SimpleQueue[list[_Request[object]] | None] = queue.SimpleQueue()
        self._waiting: list[_Request[object]] = []
        self._last = False
        self._turns: dict[asyncio.AbstractEventLoop, list[_Request[object]]] = {}
        self._closing = threading.Event()
        self._doubt: _Doubt | None = None
        self._connection: sa.Connection | None = None
        self._thread = threading.Thread(target=self._write_all, name="ledger", daemon=True)
        self._thread.start()

    def submit(self, operation: Callable[[Transaction], T]) -> asyncio.Future[T]:
        """Has ``operation`` run; its result, or what it raised, comes once all is committed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        turn = self._turns.get(loop)
        if turn is None:
            # Not each at once: the thread would begin with the first one, alone, and both threads
            # would contend for the interpreter while the others arrive.
            turn = self._turns[loop] = []
            loop.call_soon(self._hand_over, loop)
        turn.append(_Request(operation, loop, future, time.monotonic()))  # type: ignore[arg-type]
        return future

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """What was asked for in a turn of the loop goes to the thread, at the turn's end."""
        turn = self._turns.pop(loop, [])
        if turn:
            self._requests.put(turn)

    def close(self) -> None:
        """Has the thread end, once it has finished what was asked for."""
        self._closing.set()
        for loop in [*self._turns]:
            self._hand_over(loop)
        self._requests.put(None)

    def join(self, timeout_s: float) -> None:
        """Waits for that end, so long at the most; blocking."""
        self._thread.join(timeout_s)

    def _write_all(self) -> None:
        """The writer thread: groups of requests, until close."""
        while group := self._next(GROUP, wait=True):
            _deliver(self._commit(group))
        self._drop_connection()
        self._store.engine.dispose()

    def _next(self, most: int, *, wait: bool) -> list[_Request[object]]:
        """So many requests at the most; none: there are none now or, having waited, no more."""
        with suppress(queue.Empty):
            while len(self._waiting) < most and not self._last:
                turn = self._requests.get(block=wait and not self._waiting)
                self._last = turn is None
                self._waiting += turn or ()
        found, self._waiting = self._waiting[:most], self._waiting[most:]
        return found

    def _commit(self, group: list[_Request[object]], most: int = GROUP) -> list[_Outcome[object]]:
        """One transaction for the group, over as many connections as it takes. Never raises.

        What is asked for while it runs is added to the group, up to ``most``, and shares its time:
        how long it is tried counts from when the group was made.
        """
        end = group[-1].asked_at + _PATIENCE_S
        pauses = iter(_PAUSES_S)
        pause = 0.0
        while True:
            failure: LedgerError | None
            try:
                failure = self._reach.refusal()
                if failure is None:
                    return self._settle(group, most)
            except sa.exc.DBAPIError as error:
                failure = self._store.explain(error)
            except Exception as error:  # noqa: BLE001, RUF100 - the thread must live; it is told
                failure = LedgerError(f"{self._store.name}: unforeseen: {type(error).__name__}")
                failure.__cause__ = error
                return self._given_up(group, failure)
            pause = next(pauses, pause)
            if time.monotonic() + pause > end or self._closing.wait(pause):
                return self._given_up(group, failure)

    def _given_up(
        self, group: list[_Request[object]], failure: LedgerError
    ) -> list[_Outcome[object]]:
        doubt = self._doubt
        if doubt is not None and doubt.outcomes:
            failure = LedgerError(
                f"{failure}; whether the last rows were recorded is not known, and shows when it "
                "can be reached again"
            )
            # Whoever comes next finds that out, and has nobody to give a result to.
            self._doubt = replace(doubt, outcomes=[])
        return [_Outcome(each, error=failure) for each in group]

    def _settle(self, group: list[_Request[object]], most: int) -> list[_Outcome[object]]:
        """One transaction for the group; if one of it spoils that, one for each.

        Raises:
            DBAPIError: the connection was lost; another may do better.
        """
        try:
            return self._transact(group, most)
        except sa.exc.DBAPIError as error:
            if self._store.lost(error):
                self._drop_connection()
                self._reach.lost(self._store.explain(error))
                raise
            self._reach.found()
            if not isinstance(error, (sa.exc.IntegrityError, sa.exc.DataError)):
                # Disk or file: the others would meet it too. A fresh connection may not.
                self._drop_connection()
                return self._given_up(group, self._store.explain(error))
            failed: Exception = self._store.explain(error)
        except _SpoiledError as error:
            failed = error.__cause__ if isinstance(error.__cause__, Exception) else error
        except Exception as error:  # noqa: BLE001, RUF100 - the thread must live; it is handed on
            failed = error
        if self._doubt is not None and self._doubt.outcomes:
            # It is about the database behind a new connection, and no operation was run over that:
            # what this group wrote before must not be written again, one by one.
            return self._given_up(group, LedgerError(str(failed)))
        # The fault of one of them, whichever it is.
        if len(group) > 1:
            return [outcome for each in group for outcome in self._commit([each], 1)]
        return [_Outcome(group[0], error=failed)]

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sa.exc.DBAPIError):
                connection.invalidate()
                connection.close()

    def _connected(self) -> sa.Connection:
        if self._connection is None:
            try:
                self._connection = self._store.connect(self._store.writing)
            except LedgerError as error:
                # It answers, and cannot be used: no better than one that does not.
                self._reach.lost(error)
                raise
        return self._connection

    def _transact(self, group: list[_Request[object]], most: int) -> list[_Outcome[object]]:
        connection = self._connected()
        with connection.begin() as begun:
            self._reach.found()
            if (doubt := self._doubt) is not None:
                was_kept = has_link(connection, doubt.head)
                self._doubt = None
                if was_kept:
                    self._kept(doubt)
                    if doubt.outcomes:
                        begun.rollback()
                        return doubt.outcomes
            head = self._trusted_head(connection)
            transaction = Transaction(connection, self._key, head)
            outcomes = [self._run(transaction, request) for request in group]
            while more := self._next(most - len(group), wait=False):
                # Of the group before they are run: whatever happens now happens to them as well.
                group += more
                outcomes += [self._run(transaction, request) for request in more]
            done = _Doubt(transaction.head, transaction.appended, outcomes)
            if done.head is not head:
                self._doubt = done
            try:
                begun.commit()
            except sa.exc.DBAPIError as error:
                if not self._store.lost(error):
                    self._doubt = None
                raise
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
            # Another program's log may raise; the row is kept all the same.
            with suppress(Exception):
                audit.tell(row, head)
                self.observer.appended(row)
        return done.outcomes

    def _trusted_head(self, connection: sa.Connection) -> Head:
        """The head to go on from: ours, or another process's that the key vouches for."""
        head = head_of(connection)
        if head.sequence < self._trusted.sequence:
            raise LedgerBrokenError(
                f"{self._store.name} ends at row {head.sequence}, though row "
                f"{self._trusted.sequence} was there before: rows were cut off, or an older copy "
                "was put in its place while this was running; stop the TTP and restore the ledger "
                "from a backup",
                sequence=head.sequence + 1,
            )
        if head != self._trusted and head.sequence:
            name = self._store.name
            (row,) = storage.stream(connection, name, sequence=head.sequence, alone=True)
            if not chain.holds(self._key.reveal(), row):
                raise LedgerBrokenError(
                    f"row {head.sequence}, the last of {self._store.name}, was altered, or "
                    "ledger.key is not this ledger's key; nothing is added to it. 'asynctls ttp "
                    "verify' shows where it breaks; put the right key back or restore from a "
                    "backup",
                    sequence=head.sequence,
                )
        return head


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
