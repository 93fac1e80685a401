"""What a client does in one session: it prints what comes, and sends what it was given to send."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from asynctls.errors import ErrorCode, SessionClosedError
from asynctls.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from asynctls.client.outbox import Outbox
    from asynctls.client.printing import Printer
    from asynctls.runtime import Signals
    from asynctls.session import Session

__all__ = ["Conversation"]

log = get_logger()

# A server that has ended its direction by leaving gives no more receipts, and waits 5 s for our
# end; one that goes on taking messages gives them by then.
_LAST_RECEIPTS_S: Final = 3.0


class Conversation:
    """One session from its first message to its last."""

    def __init__(self, session: Session, printer: Printer, outbox: Outbox | None) -> None:
        """Nothing is said yet.

        Args:
            session: open; it is ended by whoever opened it.
            printer: takes what is received.
            outbox: what to send; None: nothing, and the session goes on until the server ends it.
        """
        self._session = session
        self._printer = printer
        self._outbox = outbox
        self._finish = asyncio.Event()

    async def run(self) -> None:
        """Until both ends have said all.

        Raises:
            InputError: what was to be sent cannot be read or sent.
            SessionClosedError: the server ended its direction before all was sent.
            SessionError: the session has ended, and by what.
            OSError: standard output takes no more.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send())
                await self._receive()
                self._finish.set()
                await self._wait_for_last_receipts(sending)
        except ExceptionGroup as group:
            raise _first(group) from None
        if self._outbox is not None and not self._outbox.done:
            raise SessionClosedError(_unsent(self._outbox))

    async def run_until_stopped(self, signals: Signals, *, drain: Callable[[], timedelta]) -> None:
        """As ``run``, and comes to its end early on a signal, or when it is time to come back.

        That is when the server goes away, or one of the certificates ends soon.

        Nothing more is sent then; what is under way gets its time, on a signal as long as
        ``drain`` says then, or until the second signal.
        """
        watching = (
            asyncio.create_task(self._watch_session()),
            asyncio.create_task(self._watch_signals(signals, drain)),
        )
        try:
            await self.run()
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    async def _receive(self) -> None:
        tally = self._session.tally
        receipts = 0
        async for message in self._session:
            log.info(
                "message verified",
                peer=str(self._session.peer),
                bytes=len(message),
                receipt=tally.receipts_sent > receipts,
            )
            receipts = tally.receipts_sent
            await self._printer.write(message, peer=self._session.peer)

    async def _send(self) -> None:
        if self._outbox is None:
            await self._finish.wait()
        else:
            await self._outbox.deliver(self._session, finish=self._finish)
        await self._session.finish_sending()

    async def _wait_for_last_receipts(self, sending: asyncio.Task[None]) -> None:
        await asyncio.wait((sending,), timeout=_LAST_RECEIPTS_S)
        sending.cancel()

    async def _watch_session(self) -> None:
        await self._session.until_going_away()
        log.info(
            "finishing",
            peer=str(self._session.peer),
            reason="the server goes away, or a certificate ends soon",
        )
        self._finish.set()

    async def _watch_signals(self, signals: Signals, drain: Callable[[], timedelta]) -> None:
        await signals.stopping.wait()
        self._finish.set()
        drain_s = drain().total_seconds()
        try:
            async with asyncio.timeout(drain_s):
                await signals.aborting.wait()
        except TimeoutError:
            log.warning("session cut off", peer=str(self._session.peer), after_s=drain_s)
        await self._session.end(ErrorCode.INTERNAL, "the client was stopped")


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """What went wrong first, without the groups that it comes in."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def _unsent(outbox: Outbox) -> str:
    waiting = outbox.without_receipt
    lines = f"; {waiting} of the lines sent have no receipt" if waiting else ""
    return f"the server ended the session before all of standard input was sent{lines}"
