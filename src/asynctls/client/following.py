"""A client that stays: whenever a session has ended, it opens the next one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from asynctls.client.conversation import Conversation
from asynctls.errors import (
    AsynctlsError,
    ErrorCode,
    InputError,
    SessionClosedError,
    SessionRefusedError,
)
from asynctls.logger import get_logger
from asynctls.runtime import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from asynctls.client.outbox import Outbox
    from asynctls.client.printing import Printer
    from asynctls.runtime import Signals
    from asynctls.session import Session

__all__ = ["Follower"]

log = get_logger()


class Follower:
    """Session after session with one server, until there is no more to send, or a signal."""

    def __init__(
        self,
        open_session: Callable[[], AbstractAsyncContextManager[Session]],
        *,
        printer: Printer,
        outbox: Outbox | None,
        signals: Signals,
        drain_s: float,
    ) -> None:
        """Connects to nobody yet.

        Args:
            open_session: opens the next session.
            printer: takes what is received.
            outbox: what to send; None: nothing.
            signals: what ends it.
            drain_s: how long a session may go on after that, in seconds.
        """
        self._open_session = open_session
        self._printer = printer
        self._outbox = outbox
        self._signals = signals
        self._drain_s = drain_s
        self._backoff = Backoff()

    async def run(self) -> None:
        """Until all is sent, if there is something to send; else until the first signal.

        Raises:
            InputError: what was to be sent cannot be read or sent.
            OSError: standard output takes no more.
        """
        loop = asyncio.get_running_loop()
        self._signals.ready("following")
        while True:
            opened = loop.time()
            try:
                await self._one_session()
                reason = "the session has ended"
            except InputError:
                raise
            except AsynctlsError as error:
                if self._all_sent and not self._stopping:
                    # Nothing is left that another session could be for.
                    raise
                reason = str(error)
                if _ended_by_date(error):
                    # Which is no trouble: with short certificates it is how every session ends.
                    self._backoff.start_anew()
            if self._stopping or self._all_sent:
                break
            delay_s = self._backoff.delay_s(held_s=loop.time() - opened)
            log.warning("connecting again", reason=reason, retry_in_s=round(delay_s, 1))
            await self._signals.unless_stopping(asyncio.sleep(delay_s))
            if self._stopping:
                break
        if self._outbox is not None and self._outbox.without_receipt:
            log.warning("lines without a receipt", lines=self._outbox.without_receipt)
        log.info("stopped")

    @property
    def _stopping(self) -> bool:
        return self._signals.stopping.is_set()

    @property
    def _all_sent(self) -> bool:
        return self._outbox is not None and self._outbox.done

    async def _one_session(self) -> None:
        async with AsyncExitStack() as stack:
            session = await self._signals.unless_stopping(
                stack.enter_async_context(self._open_session())
            )
            if session is None:
                return
            conversation = Conversation(session, self._printer, self._outbox)
            try:
                await conversation.run_until_stopped(self._signals, drain_s=self._drain_s)
            finally:
                if session.going_away:
                    # It was asked to come back.
                    self._backoff.start_anew()


def _ended_by_date(error: AsynctlsError) -> bool:
    """Whether a session ended because one of its two certificates did, whoever of us said so."""
    if isinstance(error, SessionClosedError):
        return error.told is ErrorCode.CERTIFICATE_EXPIRED
    if isinstance(error, SessionRefusedError):
        return error.error_code == ErrorCode.CERTIFICATE_EXPIRED
    return False
