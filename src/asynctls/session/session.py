"""A session over a TLS connection, as coroutines: a thin shell around protocol.Protocol.

It adds what the pure object cannot have: waiting, bounds on waiting, backpressure, the clock.
One task of its own reads, and ends the connection when all is said; `async with` owns it. The
rules, and why, are in docs/session-protocol.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self

from asynctls.admission import LiveAfterExpiry, Peer
from asynctls.errors import (
    AsynctlsError,
    BindingMismatchError,
    ErrorCode,
    SessionClosedError,
    SessionError,
    SessionTimeoutError,
)
from asynctls.logger import get_logger
from asynctls.session.channel import Limits, require_binding
from asynctls.session.dates import Expiry, utc_now
from asynctls.session.inbox import Inbox
from asynctls.session.keys import binding
from asynctls.session.link import Link
from asynctls.session.protocol import (
    Delivered,
    Ended,
    Event,
    GoesAway,
    Message,
    Opened,
    Protocol,
)
from asynctls.session.states import Role, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from types import TracebackType

    from asynctls.session.channel import Channel
    from asynctls.session.states import FrameType
    from asynctls.session.tally import Tally

__all__ = ["Session"]

log = get_logger()

# Messages of one end whose receipt is awaited at once. The other end may stop reading when four
# times as many of its receipts lie unread: a peer that keeps to the first never meets the second.
_RECEIPTS_AWAITED: Final = 1024
_RECEIPTS_UNREAD: Final = 4 * _RECEIPTS_AWAITED


class Session:
    """A session with one peer: authenticated messages both ways, and receipts for them.

    Made by `connect` or `accept`, opened and ended by ``async with``; it owns the channel from
    then on. Several tasks may send and receive at once: the pieces of two messages never mix, and
    each message is received once.

    Attributes:
        put_out: is set when this end has ended the session since its peer may not stay (`end`, and
            the end of a certificate), for whoever waits for something else.
    """

    def __init__(
        self,
        role: Role,
        channel: Channel,
        *,
        own_certificate: bytes,
        peer: Peer,
        limits: Limits,
        live_after_expiry: Callable[[], LiveAfterExpiry],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        certificates = own_certificate, peer.certificate
        if role is Role.SERVER:
            certificates = certificates[::-1]
        self._channel = channel
        self._own_certificate = own_certificate
        self._peer = peer
        self._limits = limits
        self._live_after_expiry = live_after_expiry
        self._now = now
        self._protocol = Protocol(
            role,
            binding(
                client_certificate=certificates[0],
                server_certificate=certificates[1],
                tls_unique=channel.tls_unique or b"",
            ),
            max_message_bytes=limits.max_message_bytes,
        )
        self._link = Link(self._protocol, channel)
        self._inbox = Inbox(messages=limits.queue_messages, content_bytes=limits.queue_bytes)
        self._turn = asyncio.Lock()
        self._receipts = asyncio.Semaphore(_RECEIPTS_AWAITED)
        self._deliveries: dict[int, asyncio.Future[None]] = {}
        self._receipts_unread = 0
        self._peer_closed = False
        self._going_away = asyncio.Event()
        self._stalls = False
        self.put_out = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._reading: asyncio.Timeout | None = None
        self._expiry: Expiry | None = None

    @classmethod
    def connect(
        cls,
        channel: Channel,
        *,
        own_certificate: bytes,
        peer: Peer,
        limits: Limits | None = None,
        live_after_expiry: Callable[[], LiveAfterExpiry] = lambda: LiveAfterExpiry.END,
    ) -> Session:
        """The client's end, to be opened by ``async with``.

        Args:
            channel: a TLS connection whose handshake is done.
            own_certificate: the certificate that this end showed, DER.
            peer: whom the other end's certificate names; it was admitted.
            limits: of messages, queue and waiting.
            live_after_expiry: whether the session ends with the first of the two certificates,
                asked when that is near.

        Entering raises:
            HandshakeError: the channel cannot carry a session.
            BindingMismatchError: the two ends do not see the same connection.
            SessionError: any other way in which the session did not come about.
        """
        return cls(
            Role.CLIENT,
            channel,
            own_certificate=own_certificate,
            peer=peer,
            limits=limits or Limits(),
            live_after_expiry=live_after_expiry,
        )

    @classmethod
    def accept(
        cls,
        channel: Channel,
        *,
        own_certificate: bytes,
        peer: Peer,
        limits: Limits | None = None,
        live_after_expiry: Callable[[], LiveAfterExpiry] = lambda: LiveAfterExpiry.END,
    ) -> Session:
        """The server's end, to be opened by ``async with``; as `connect`."""
        return cls(
            Role.SERVER,
            channel,
            own_certificate=own_certificate,
            peer=peer,
            limits=limits or Limits(),
            live_after_expiry=live_after_expiry,
        )

    def __repr__(self) -> str:
        return f"<Session with {self._peer.name} at {self._channel.peer_address}>"

    @property
    def peer(self) -> Peer:
        """Whom the other end's certificate names."""
        return self._peer

    @property
    def going_away(self) -> bool:
        """Whether it is time to finish and to come back.

        The server has said that it drains, or one of the two certificates ends soon.
        """
        return self._going_away.is_set()

    @property
    def failure(self) -> SessionError | None:
        """What the session ended by, as it was raised; None while it is open or closed in order."""
        return self._protocol.failure

    @property
    def end_reason(self) -> str:
        """How the session ended, in words, for whoever logs it; also why it did not come about."""
        return str(self._protocol.failure or "both ends closed it")

    @property
    def sent_bytes(self) -> Mapping[FrameType, int]:
        """TLS bytes sent, by the type of frame that they carried."""
        return MappingProxyType(self._link.sent_bytes)

    @property
    def tally(self) -> Tally:
        """What went through so far."""
        return self._protocol.tally

    @property
    def mac_ns(self) -> int:
        """Nanoseconds spent in HMAC over frames, both directions."""
        return self._protocol.mac_ns

    def allow_stalls(self) -> None:
        """A peer that takes nothing for long is slow and not dead, as in a tunnel.

        Then also the end waits until it has taken all; only `end` and what loses the connection
        cut that short.
        """
        self._stalls = True
        self._channel.allow_stalls()

    # Opening

    async def __aenter__(self) -> Self:
        try:
            require_binding(self._channel, peer_certificate=self._peer.certificate)
            own = Peer.of(self._own_certificate)
            await self._shake_hands()
        except BaseException as error:
            await self._give_up(error)
            raise
        self._keeper = asyncio.create_task(self._keep(), name=repr(self))
        self._expiry = Expiry(
            own,
            self._peer,
            live_after_expiry=self._live_after_expiry,
            on_near=self._finish_soon,
            on_end=self._expire,
            now=self._now,
        )
        self._expiry.start()
        return self

    async def _shake_hands(self) -> None:
        seconds = self._limits.handshake_timeout_s
        awaited = "KEY" if self._protocol.role is Role.SERVER else "READY or ERROR"
        try:
            async with asyncio.timeout(seconds):
                self._link.flush()
                while not isinstance(self._protocol.next_event(), Opened):
                    await self._link.read()
                self._link.flush()
                await self._link.drain()
        except TimeoutError:
            text = f"no {awaited} came within {seconds:g} s"
            self._protocol.end(ErrorCode.TIME_OUT, text)
            raise SessionTimeoutError(text) from None
        finally:
            self._link.flush()

    async def _give_up(self, error: BaseException) -> None:
        if isinstance(error, BindingMismatchError):
            log.warning(
                "binding mismatch",
                peer=self._peer.name,
                address=self._channel.peer_address,
                reason=str(error),
            )
        if isinstance(error, AsynctlsError):
            await self._link.shut(self._limits.close_timeout_s)
        else:
            self._channel.abort()

    # Ending

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            # `while True: await session.receive()` ends so when the peer has said all.
            said_all = isinstance(error, SessionClosedError) and self._peer_closed
            if error is None or said_all:
                await self.close()
            elif isinstance(error, Exception):
                self._end(ErrorCode.INTERNAL, "the application failed")
                await self._over()
            else:
                self._end(ErrorCode.INTERNAL, "the application was stopped")
        finally:
            await self._leave_nothing()

    async def close(self) -> None:
        """Ends both directions: says CLOSE, and waits for the peer's for 5 s at the most.

        A message that another task is sending goes out whole before that; what the peer sends
        from now on is dropped, and its receipts never come. How the peer ended is in
        ``end_reason``, and is no error here: ask for a receipt where that matters.
        """
        seconds = self._limits.close_timeout_s
        self._take_no_more()
        try:
            async with asyncio.timeout(seconds):
                await self.finish_sending()
                await self._over()
        except TimeoutError:
            self._end(ErrorCode.TIME_OUT, f"the peer did not CLOSE within {seconds:g} s")
            await self._over()

    async def finish_sending(self) -> None:
        """Ends our direction alone; `receive` goes on until the peer ends its own."""
        async with self._turn:
            if self._protocol.failure is None and self._protocol.sending is not State.CLOSED:
                self._protocol.send_close()
                self._link.flush()
        if self._protocol.over:
            self._stop_reading()

    async def until_going_away(self) -> None:
        """Returns when it is time to finish and to come back; see `going_away`."""
        await self._going_away.wait()

    async def end(self, code: ErrorCode, text: str) -> None:
        """Ends the session at once by an ERROR that says why, as when a peer is revoked.

        Whoever sends or receives gets SessionClosedError with that text.
        """
        self._put_out(code, text)
        await self._over()

    def abort(self, text: str) -> None:
        """Ends the session by ERROR 10 with that text, and waits for nothing."""
        self._end(ErrorCode.INTERNAL, text)

    async def wait_closed(self) -> None:
        """Waits until the connection is closed, however the session has ended."""
        await self._over()

    def goaway(self) -> None:
        """A server's word that it drains: the client is to finish and come back.

        It waits for nothing: a client that does not read must not hold up a drain.
        """
        if self._protocol.failure is None:
            self._protocol.send_goaway()
            self._link.flush()

    # Messages

    async def send(self, message: bytes, *, receipt: bool = False) -> None:
        """Sends a message; with ``receipt``, returns when the other application has taken it.

        Cancelled before its first piece is sealed, it sends nothing; cancelled later, the rest of
        the message goes out all the same, without waiting for room.

        Raises:
            MessageTooLargeError: the peer takes no message as large; nothing was sent.
            SessionTimeoutError: no receipt within ``receipt_timeout_s``; the session has ended.
            SessionClosedError: our direction has ended.
            SessionError: the session has ended, and by what; the message may not have arrived.
        """
        if not receipt:
            await self._send(message, receipt_wanted=False)
            return
        async with self._receipts:
            sequence = await self._send(message, receipt_wanted=True)
            await self._delivery(sequence)

    async def receive(self) -> bytes:
        """The next message; its receipt is sent if the peer wants one.

        What was verified before the session failed is given before the failure is raised.
        Cancelling it loses nothing.

        Raises:
            SessionClosedError: the peer has ended its direction, or this end the session.
            SessionError: the session has ended, and by what.
        """
        while (message := self._inbox.take()) is None:
            if self._peer_closed:
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
                self._stop_reading()
        return message.content

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next message; the peer's CLOSE ends the iteration, all else is raised."""
        try:
            return await self.receive()
        except SessionClosedError:
            if self._peer_closed:
                raise StopAsyncIteration from None
            raise

    async def _send(self, message: bytes, *, receipt_wanted: bool) -> int:
        async with self._turn:
            pieces = self._protocol.send_message(message, receipt_wanted=receipt_wanted)
            sequence = next(pieces)
            try:
                self._link.flush()
                await self._link.drain()
                for sequence in pieces:  # noqa: B007 - the last one's is what a receipt names
                    self._link.flush()
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
        seconds = self._limits.receipt_timeout_s
        answered = self._deliveries[sequence] = asyncio.get_running_loop().create_future()
        self._inbox.reconsider()
        try:
            async with asyncio.timeout(seconds):
                await answered
        except TimeoutError:
            text = f"no receipt came within {seconds:g} s"
            self._end(ErrorCode.TIME_OUT, text)
            raise SessionTimeoutError(text) from None
        finally:
            del self._deliveries[sequence]
        if sequence in self._protocol.receipts_awaited:
            self._link.raise_failure()

    # The keeper: reads until all is said, then ends the connection

    async def _keep(self) -> None:
        try:
            async with asyncio.timeout(None) as self._reading:
                while not self._protocol.over:
                    await self._read_event()
        except (TimeoutError, SessionError):
            # TimeoutError is `_stop_reading`; what the session ended by is known to the protocol.
            pass
        except Exception:
            self._end(ErrorCode.INTERNAL, "internal error")
            self._channel.abort()
            raise
        finally:
            self._reading = None
            self._inbox.end()
            self._wake_senders()
        self._link.flush()
        if self._stalls and self._protocol.failure is None:
            await self._link.all_taken()
        await self._link.shut(self._limits.close_timeout_s)

    async def _read_event(self) -> None:
        await self._inbox.room(self._awaits_receipt)
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
                answered = self._deliveries.get(sequence)
                if answered is not None and not answered.done():
                    answered.set_result(None)
            case Ended():
                self._peer_closed = True
                self._inbox.end()
            case GoesAway():
                self._going_away.set()
            case Opened():
                pass

    def _awaits_receipt(self) -> bool:
        return bool(self._deliveries)

    # The end, from any side

    def _finish_soon(self) -> None:
        log.info("certificate ends soon", peer=str(self._peer), advice="finish and come back")
        self._going_away.set()
        if self._protocol.role is Role.SERVER:
            self.goaway()

    def _expire(self, words: str) -> None:
        self._put_out(ErrorCode.CERTIFICATE_EXPIRED, words)

    def _put_out(self, code: ErrorCode, text: str) -> None:
        if self._protocol.over:
            # All was said, and what the peer has not taken by now it does not get.
            self._channel.abort()
        self._end(code, text)
        self.put_out.set()

    def _end(self, code: ErrorCode, text: str) -> None:
        if not self._protocol.over:
            self._protocol.end(code, text)
            self._link.flush()
        self._take_no_more()
        self._wake_senders()
        self._stop_reading()

    def _take_no_more(self) -> None:
        self._inbox.end()
        if len(self._inbox):
            # Whoever receives must not take the peer's CLOSE, behind what is dropped, for the end.
            self._peer_closed = False
            self._inbox.clear()
        self._protocol.forget_owed()

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.reschedule(asyncio.get_running_loop().time())
            self._reading = None

    def _wake_senders(self) -> None:
        for answered in self._deliveries.values():
            if not answered.done():
                answered.set_result(None)

    async def _over(self) -> None:
        if self._keeper is not None:
            await asyncio.wait({self._keeper})

    async def _leave_nothing(self) -> None:
        if self._expiry is not None:
            self._expiry.stop()
            # It knows us: a ring that holds the TLS connection until the collector's rare round.
            self._expiry = None
        if self._keeper is None:
            return
        if not self._keeper.done():
            self._channel.abort()
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        if not self._keeper.cancelled():
            self._keeper.result()
