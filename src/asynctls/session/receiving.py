"""The peer's direction of a session: what comes is read by one task, and taken by the application.

It goes on being read while the application is busy, until the inbox is full: a receipt for us
comes in the same stream.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from asynctls.errors import SessionClosedError, SessionError
from asynctls.session.protocol import Delivered, Ended, Event, GoesAway, Message, Opened
from asynctls.session.sending import RECEIPTS_AWAITED

if TYPE_CHECKING:
    from asynctls.session.inbox import Inbox
    from asynctls.session.link import Link
    from asynctls.session.protocol import Protocol
    from asynctls.session.sending import Sending

__all__ = ["Receiving"]

# The other end may stop reading when so many of its receipts lie unread: a peer that keeps to
# RECEIPTS_AWAITED never meets this.
_RECEIPTS_UNREAD: Final = 4 * RECEIPTS_AWAITED
# A peer that sends frames of a byte has a thousand of them in what has arrived at once, which are
# read without any wait: others are to have their turn in between.
_FRAMES_AT_A_STRETCH: Final = 64


class Receiving:
    """Reads events, and keeps the messages among them until they are taken.

    Args:
        protocol: says what came.
        link: reads.
        inbox: holds the messages.
        sending: is told of the receipts that come.
        going_away: is set by the peer's GOAWAY.

    Attributes:
        peer_closed: whether the peer's CLOSE has come, and nothing before it was dropped.
    """

    def __init__(
        self,
        protocol: Protocol,
        link: Link,
        inbox: Inbox,
        sending: Sending,
        *,
        going_away: asyncio.Event,
    ) -> None:
        self._protocol = protocol
        self._link = link
        self._inbox = inbox
        self._sending = sending
        self._going_away = going_away
        self._receipts_unread = 0
        self._reading: asyncio.Timeout | None = None
        self.peer_closed = False

    async def receive(self) -> bytes:
        """The next message, as `Session.receive`."""
        while (message := self._inbox.take()) is None:
            if self.peer_closed:
                raise SessionClosedError("the peer has ended its direction: no more will come")
            self._link.raise_failure()
            if self._inbox.ended:
                raise SessionClosedError("this end has closed the session")
            await self._inbox.arrival()
        if message.receipt_wanted and self._protocol.failure is None:
            self._protocol.send_receipt(message.sequence)
            self._receipts_unread += 1
            self._link.flush()
            if self._protocol.over:
                self.stop()
        return message.content

    def take_no_more(self) -> None:
        """The application receives no more: what waits and what still comes is dropped."""
        self._inbox.end()
        if len(self._inbox):
            # Whoever receives must not take the peer's CLOSE, behind what is dropped, for the end.
            self.peer_closed = False
            self._inbox.clear()
        self._protocol.forget_owed()

    async def read(self) -> None:
        """Reads until all is said, the session has failed, or `stop`."""
        try:
            async with asyncio.timeout(None) as self._reading:
                rested_at = 0
                while not self._protocol.over:
                    await self._read_event()
                    if self._protocol.frames_received - rested_at >= _FRAMES_AT_A_STRETCH:
                        rested_at = self._protocol.frames_received
                        await asyncio.sleep(0)
        except (TimeoutError, SessionError):
            # TimeoutError is `stop`; what the session ended by is known to the protocol.
            pass
        finally:
            self._reading = None
            self._inbox.end()

    def stop(self) -> None:
        """Ends `read`, whatever it waits for."""
        if self._reading is not None:
            self._reading.reschedule(asyncio.get_running_loop().time())
            self._reading = None

    async def _read_event(self) -> None:
        await self._inbox.room(self._sending.awaits_receipt)
        event = self._protocol.next_event()
        if event is not None:
            self._take(event)
            self._link.mind_records()
            return
        if self._receipts_unread >= _RECEIPTS_UNREAD:
            await self._link.drain()
            self._receipts_unread = 0
        await self._link.read()

    def _take(self, event: Event) -> None:
        match event:
            case Message():
                if self._inbox.ended:
                    self._protocol.forget_owed()
                else:
                    self._inbox.put(event)
            case Delivered(sequence=sequence):
                self._sending.delivered(sequence)
            case Ended():
                self.peer_closed = True
                self._inbox.end()
            case GoesAway():
                self._going_away.set()
            case Opened():
                pass
