"""A client that stays: whenever a session has ended, it opens the next one."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from asynctls.client.conversation import Conversation
from asynctls.client.reconnecting import sessions
from asynctls.errors import AsynctlsError, InputError
from asynctls.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager
    from datetime import timedelta

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
        drain: Callable[[], timedelta],
    ) -> None:
        """Connects to nobody yet.

        Args:
            open_session: opens the next session.
            printer: takes what is received.
            outbox: what to send; None: nothing.
            signals: what ends it.
            drain: how long a session may go on after that, asked for when it begins: a reload can
                change it.
        """
        self._open_session = open_session
        self._printer = printer
        self._outbox = outbox
        self._signals = signals
        self._drain = drain

    async def run(self) -> None:
        """Until all is sent, if there is something to send; else until the first signal.

        Raises:
            InputError: what was to be sent cannot be read or sent.
            OSError: standard output takes no more.
        """
        self._signals.ready("following")
        async with aclosing(sessions(self._open_session)) as opened:
            while (session := await self._next(opened)) is not None:
                await self._converse(session)
                if self._stopping or self._all_sent:
                    await session.close()
                    break
        if self._outbox is not None and self._outbox.without_receipt:
            log.warning("lines without a receipt", lines=self._outbox.without_receipt)
        log.info("stopped")

    async def _next(self, opened: AsyncGenerator[Session, None]) -> Session | None:
        async def the_next() -> Session:
            return await anext(opened)

        return await self._signals.unless_stopping(the_next())

    async def _converse(self, session: Session) -> None:
        conversation = Conversation(session, self._printer, self._outbox)
        try:
            await conversation.run_until_stopped(self._signals, drain=self._drain)
        except InputError:
            raise
        except AsynctlsError:
            if self._all_sent and not self._stopping:
                # Nothing is left that another session could be for.
                raise

    @property
    def _stopping(self) -> bool:
        return self._signals.stopping.is_set()

    @property
    def _all_sent(self) -> bool:
        return self._outbox is not None and self._outbox.done
