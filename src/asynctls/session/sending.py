"""Our direction of a session: one message at a time, and the receipts that are awaited for them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from asynctls.errors import SessionError, SessionTimeoutError
from asynctls.session.shape import MAX_PAYLOAD
from asynctls.session.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynctls.session.inbox import Inbox
    from asynctls.session.link import Link
    from asynctls.session.protocol import Protocol

__all__ = ["RECEIPTS_AWAITED", "Sending"]

RECEIPTS_AWAITED: Final = 1024
"""Messages of one end whose receipt is awaited at once."""


class Sending:
    """Sends whole messages for several tasks: the pieces of two never mix.

    Args:
        protocol: seals the pieces, and knows which receipts have not come.
        link: takes the frames.
        inbox: is wider while a receipt is awaited.
        receipt_timeout_s: how long one is awaited.
    """

    def __init__(
        self, protocol: Protocol, link: Link, inbox: Inbox, *, receipt_timeout_s: float
    ) -> None:
        self._protocol = protocol
        self._link = link
        self._inbox = inbox
        self._receipt_timeout_s = receipt_timeout_s
        self._turn = asyncio.Lock()
        self._receipts = asyncio.Semaphore(RECEIPTS_AWAITED)
        self._deliveries: dict[int, asyncio.Future[None]] = {}

    def send_now(self, message: bytes) -> bool:
        """Sends a message of one frame if nothing stands in its way; false: await `send`.

        Raises as `Session.send`.
        """
        if len(message) > MAX_PAYLOAD or self._link.full or self._turn.locked():
            return False
        self._protocol.send_small(message, receipt_wanted=False)
        self._link.add(len(message))
        return True

    async def send(self, message: bytes) -> None:
        """Sends a message; raises as `Session.send`."""
        await self._send(message, receipt_wanted=False)

    async def deliver(self, message: bytes) -> None:
        """Sends a message and waits for its receipt; raises as `Session.send`.

        After SessionTimeoutError the session is still to be ended.
        """
        async with self._receipts:
            sequence = await self._send(message, receipt_wanted=True)
            await self._delivery(sequence)

    async def close(self) -> None:
        """Says CLOSE, behind the message that is being sent; once, however often it is called."""
        async with self._turn:
            if self._protocol.failure is None and self._protocol.sending is not State.CLOSED:
                self._protocol.send_close()
                self._link.flush()

    def delivered(self, sequence: int) -> None:
        """The receipt for the message whose last frame had ``sequence`` has come."""
        answered = self._deliveries.get(sequence)
        if answered is not None and not answered.done():
            answered.set_result(None)

    def wake(self) -> None:
        """No receipt will come any more: whoever awaits one looks how the session ended."""
        for answered in self._deliveries.values():
            if not answered.done():
                answered.set_result(None)

    async def _send(self, message: bytes, *, receipt_wanted: bool) -> int:
        async with self._turn:
            if len(message) <= MAX_PAYLOAD and not self._link.full:
                sequence = self._protocol.send_small(message, receipt_wanted=receipt_wanted)
                self._link.add(len(message))
                return sequence
            pieces = self._protocol.send_message(message, receipt_wanted=receipt_wanted)
            sequence = next(pieces)
            try:
                await self._link.drain()
                for sequence in pieces:  # noqa: B007 - the last one's is what a receipt names
                    await self._link.drain()
            except asyncio.CancelledError:
                self._send_rest(pieces)
                raise
            return sequence

    def _send_rest(self, pieces: Iterator[int]) -> None:
        # Half a message would block the direction for good. It is one message at the most that
        # is queued here beyond the bound, and the caller has it in memory anyway.
        with contextlib.suppress(SessionError):
            for _ in pieces:
                self._link.flush()

    async def _delivery(self, sequence: int) -> None:
        if sequence not in self._protocol.receipts_awaited:
            return
        seconds = self._receipt_timeout_s
        answered = self._deliveries[sequence] = asyncio.get_running_loop().create_future()
        self._inbox.be_patient(patient=True)
        try:
            async with asyncio.timeout(seconds):
                await answered
        except TimeoutError:
            raise SessionTimeoutError(f"no receipt came within {seconds:g} s") from None
        finally:
            del self._deliveries[sequence]
            self._inbox.be_patient(patient=bool(self._deliveries))
        if sequence in self._protocol.receipts_awaited:
            self._link.raise_failure()
