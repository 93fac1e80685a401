"""The lines that a client sends: each is kept until the server's application has taken it.

A line counts as sent when its receipt is in. What had none when a session ended goes out again in
the next one, so each line arrives at least once, and in order within a session.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from asynctls.errors import InputError, MessageTooLargeError
from asynctls.logger import get_logger
from asynctls.runtime import unless

if TYPE_CHECKING:
    from asynctls.client.lines import Lines
    from asynctls.session import Session

__all__ = ["Outbox"]

log = get_logger()

# Under way at once: many, so that a distant server is no brake; few enough that the last one's
# receipt is in before its time though the application is slow.
_UNDER_WAY: Final = 32
_UNDER_WAY_BYTES: Final = 1 << 20


class Outbox:
    """What is to be sent, from one session to the next."""

    def __init__(self, lines: Lines) -> None:
        """Takes the lines one by one, when there is a session to send them in."""
        self._lines = lines
        self._kept: dict[int, bytes] = {}
        self._kept_bytes = 0
        self._taken = 0
        self._fewer = asyncio.Event()
        self._input_ended = False

    @property
    def done(self) -> bool:
        """Whether there is no more to send, and all that was has its receipt."""
        return self._input_ended and not self._kept

    @property
    def without_receipt(self) -> int:
        """How many lines were taken from the input and have no receipt yet."""
        return len(self._kept)

    async def deliver(self, session: Session, *, finish: asyncio.Event) -> None:
        """Sends until there is no more, or until ``finish``; returns when all receipts are in.

        Raises:
            InputError: the input cannot be read, or a line is larger than the server takes.
            SessionError: the session has ended, and by what.
        """
        if self._kept:
            log.info("sending again", lines=len(self._kept), reason="they have no receipt")
        async with asyncio.TaskGroup() as deliveries:
            for number in tuple(self._kept):
                deliveries.create_task(self._deliver(session, number))
            while (new := await unless(finish, self._next())) is not None:
                deliveries.create_task(self._deliver(session, new))

    async def _next(self) -> int | None:
        """The number of the next line, once there is room for one more under way."""
        while len(self._kept) >= _UNDER_WAY or self._kept_bytes >= _UNDER_WAY_BYTES:
            self._fewer.clear()
            await self._fewer.wait()
        line = await self._lines.next()
        if line is None:
            self._input_ended = True
            return None
        self._taken += 1
        self._kept[self._taken] = line
        self._kept_bytes += len(line)
        return self._taken

    async def _deliver(self, session: Session, number: int) -> None:
        line = self._kept[number]
        try:
            await session.send(line, receipt=True)
        except MessageTooLargeError as error:
            if session.failure is None:
                raise InputError(
                    f"line {number} of standard input was not sent: {error}"
                ) from error
            raise
        log.debug("line delivered", line=number, bytes=len(line), peer=str(session.peer))
        del self._kept[number]
        self._kept_bytes -= len(line)
        self._fewer.set()
