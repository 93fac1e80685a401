"""The peer's direction of a session: what comes is read at once, and taken by the application.

It goes on being read while the application is busy, until the inbox is full: a receipt for us
comes in the same stream. No task waits for bytes: the channel calls.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from asynctls.errors import SessionClosedError, SessionError
from asynctls.session.frames import Data
from asynctls.session.protocol import Delivered, Ended, Event, GoesAway
from asynctls.session.sending import RECEIPTS_AWAITED

if TYPE_CHECKING:
    from asynctls.session.going_away import GoingAway
    from asynctls.session.inbox import Inbox
    from asynctls.session.link import Link
    from asynctls.session.protocol import Protocol
    from asynctls.session.sending import Sending

__all__ = ["Receiving"]

# The other end may stop reading when so many of its receipts lie unread: a peer that keeps to
# RECEIPTS_AWAITED never meets this.
_RECEIPTS_UNREAD: Final = 4 * RECEIPTS_AWAITED
# A peer that sends frames of a byte has a thousand of them in what has arrived at once, which are
# read without any wait: others are to have their turn in between. So with records of a byte.
_FRAMES_AT_A_STRETCH: Final = 64
_READS_AT_A_STRETCH: Final = 16


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

    __slots__ = (
        "_going_away",
        "_halted",
        "_inbox",
        "_link",
        "_protocol",
        "_reading",
        "_receipts_unread",
        "_resting",
        "_sending",
        "peer_closed",
    )

    def __init__(
        self,
        protocol: Protocol,
        link: Link,
        inbox: Inbox,
        sending: Sending,
        *,
        going_away: GoingAway,
    ) -> None:
        self._protocol = protocol
        self._link = link
        self._inbox = inbox
        self._sending = sending
        self._going_away = going_away
        self._receipts_unread = 0
        self._reading: asyncio.Timeout | None = None
        self._halted: asyncio.Future[None] | None = None
        self._resting = False
        self.peer_closed = False

    async def receive(self, *, at_end: type[Exception]) -> bytes:
        """The next message; its receipt is sent if the peer wants one.

        Args:
            at_end: what is raised when the peer has ended its direction.

        Raises:
            SessionClosedError: this end has closed the session.
            SessionError: the session has ended, and by what.
        """
        while (message := self._inbox.take()) is None:
            if self.peer_closed:
                raise at_end("the peer has ended its direction: no more will come")
            self._link.raise_failure()
            if self._inbox.ended:
                raise SessionClosedError("this end has closed the session")
            await self._inbox.arrival()
        if message.receipt_wanted and self._protocol.failure is None:
            self._acknowledge(message)
        return message.payload

    def _acknowledge(self, message: Data) -> None:
        self._protocol.send_receipt(message.sequence)
        self._receipts_unread += 1
        self._link.flush_soon()
        if self._protocol.over:
            self.stop()

    def take_no_more(self) -> None:
        """The application receives no more: what waits and what still comes is dropped."""
        self._inbox.end()
        if len(self._inbox):
            # Whoever receives must not take the peer's CLOSE, behind what is dropped, for the end.
            self.peer_closed = False
            self._inbox.clear()
        self._protocol.owe_nothing()

    async def read(self) -> None:
        """Reads until all is said, the session has failed, or `stop`."""
        try:
            async with asyncio.timeout(None) as self._reading:
                self._link.deliver(self._read_on)
                while True:
                    self._halted = asyncio.get_running_loop().create_future()
                    self._read_on()
                    await self._halted
                    await self._link.drain()
                    self._receipts_unread = 0
        except (TimeoutError, SessionError):
            # TimeoutError is `stop`; what the session ended by is known to the protocol.
            pass
        finally:
            self._reading = self._halted = None
            self._link.deliver_no_more()
            self._inbox.end()

    def stop(self) -> None:
        """Ends `read`, whatever it waits for."""
        if self._reading is not None:
            self._reading.reschedule(asyncio.get_running_loop().time())
            self._reading = None

    def _read_on(self) -> None:
        """Is called when there may be something to read."""
        halted = self._halted
        if halted is None or halted.done() or self._resting:
            return
        try:
            if self._read_a_stretch(halted):
                self._resting = True
                asyncio.get_running_loop().call_soon(self._rested)
        except SessionError:
            # What the session ended by is known to the protocol.
            self.stop()
        except Exception as fault:  # noqa: BLE001 - it is raised where `read` is awaited
            halted.set_exception(fault)

    def _rested(self) -> None:
        self._resting = False
        self._read_on()

    def _read_a_stretch(self, halted: asyncio.Future[None]) -> bool:
        """Takes what has arrived, as long as there is room; true if it stopped for others' sake."""
        protocol, inbox = self._protocol, self._inbox
        frames_at = protocol.frames_received + _FRAMES_AT_A_STRETCH
        events = reads = 0
        more = True
        over = protocol.over
        while not over:
            if inbox.full:
                inbox.tell_of_room(self._read_on)
                return False
            event = protocol.next_event()
            if event is not None:
                events += 1
                if isinstance(event, Data):
                    if inbox.put(event):
                        # What is answered to it goes out behind whoever was woken, in this turn.
                        self._link.flush_soon()
                else:
                    self._take(event)
                    over = protocol.over
                if events == _FRAMES_AT_A_STRETCH:
                    return True
            elif not more:
                return False
            elif self._receipts_unread >= _RECEIPTS_UNREAD:
                halted.set_result(None)
                return False
            elif reads == _READS_AT_A_STRETCH or protocol.frames_received >= frames_at:
                return True
            else:
                more = self._link.read_now()
                reads += 1
        self.stop()
        return False

    def _take(self, event: Event) -> None:
        match event:
            case Delivered(sequence=sequence):
                self._sending.delivered(sequence)
            case Ended():
                self.peer_closed = True
                self._inbox.end()
            case GoesAway():
                self._going_away.set()
