"""A session over a TLS connection, as coroutines: a thin shell around protocol.Protocol.

It adds what the pure object cannot have: waiting, bounds on waiting, backpressure, the clock.
`sending` and `receiving` are its two directions; here they begin and end together. A task of its
own ends the connection when all is said. The rules, and why, are in docs/session-protocol.md.
"""

from __future__ import annotations

import asyncio
from functools import cached_property, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

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
from asynctls.session.going_away import GoingAway
from asynctls.session.inbox import Inbox
from asynctls.session.keys import binding
from asynctls.session.link import Link
from asynctls.session.opening import shake_hands
from asynctls.session.protocol import Protocol
from asynctls.session.receiving import Receiving
from asynctls.session.sending import Sending
from asynctls.session.states import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from datetime import datetime
    from types import TracebackType

    from asynctls.session.channel import Channel
    from asynctls.session.states import FrameType
    from asynctls.session.tally import Tally

__all__ = ["Session"]

log = get_logger()


class Session:
    """A session with one peer: authenticated messages both ways, and receipts for them.

    Made by `connect` or `accept`, opened and ended by ``async with``; it owns the channel from
    then on. Several tasks may send and receive at once: the pieces of two messages never mix, and
    each message is received once.
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
        inbox = Inbox(messages=limits.queue_messages, content_bytes=limits.queue_bytes)
        self._going_away = GoingAway()
        self._sending = Sending(
            self._protocol, self._link, inbox, receipt_timeout_s=limits.receipt_timeout_s
        )
        self._receiving = Receiving(
            self._protocol, self._link, inbox, self._sending, going_away=self._going_away
        )
        self._stalls = False
        self._keeper: asyncio.Task[None] | None = None
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
        return self._going_away.is_set

    @cached_property
    def put_out(self) -> asyncio.Event:
        """Is set when this end puts its peer out, for whoever waits for something else."""
        # Made when it is first asked for: of a thousand idle sessions most never are.
        return asyncio.Event()

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
            await shake_hands(self._protocol, self._link, self._limits.handshake_timeout_s)
        except BaseException as error:
            await self._give_up(error)
            raise
        self._keeper = asyncio.create_task(self._keep(), name=repr(self))
        self._expiry = Expiry(
            own,
            self._peer,
            live_after_expiry=self._live_after_expiry,
            on_near=self._finish_soon,
            on_end=partial(self._put_out, ErrorCode.CERTIFICATE_EXPIRED),
            now=self._now,
        )
        self._expiry.start()
        return self

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
            said_all = isinstance(error, SessionClosedError) and self._receiving.peer_closed
            if error is None or said_all:
                await self.close()
            elif isinstance(error, Exception):
                self._end(ErrorCode.INTERNAL, "the application failed")
                await self.wait_closed()
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
        self._receiving.take_no_more()
        try:
            async with asyncio.timeout(seconds):
                await self.finish_sending()
                await self.wait_closed()
        except TimeoutError:
            self._end(ErrorCode.TIME_OUT, f"the peer did not CLOSE within {seconds:g} s")
            await self.wait_closed()

    async def finish_sending(self) -> None:
        """Ends our direction alone; `receive` goes on until the peer ends its own."""
        await self._sending.close()
        if self._protocol.over:
            self._receiving.stop()

    async def until_going_away(self) -> None:
        """Returns when it is time to finish and to come back; see `going_away`."""
        await self._going_away.wait()

    async def end(self, code: ErrorCode, text: str) -> None:
        """Ends the session at once by an ERROR that says why, as when a peer is revoked.

        Whoever sends or receives gets SessionClosedError with that text.
        """
        self._put_out(code, text)
        await self.wait_closed()

    def abort(self, text: str) -> None:
        """Ends the session by ERROR 10 with that text, and waits for nothing."""
        self._end(ErrorCode.INTERNAL, text)

    async def wait_closed(self) -> None:
        """Waits until the connection is closed, however the session has ended."""
        if self._keeper is not None:
            await asyncio.wait({self._keeper})

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
            if not self._sending.send_now(message):
                await self._sending.send(message)
            return
        try:
            await self._sending.deliver(message)
        except SessionTimeoutError as error:
            self._end(ErrorCode.TIME_OUT, str(error))
            raise

    async def receive(self) -> bytes:
        """The next message; its receipt is sent if the peer wants one.

        What was verified before the session failed is given before the failure is raised.
        Cancelling it loses nothing.

        Raises:
            SessionClosedError: the peer has ended its direction, or this end the session.
            SessionError: the session has ended, and by what.
        """
        return await self._receiving.receive(at_end=SessionClosedError)

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[None, None, bytes]:
        """The next message; the peer's CLOSE ends the iteration, all else is raised."""
        return self._receiving.receive(at_end=StopAsyncIteration)

    # The keeper: reads until all is said, then ends the connection

    async def _keep(self) -> None:
        try:
            await self._receiving.read()
        except Exception:
            self._end(ErrorCode.INTERNAL, "internal error")
            self._channel.abort()
            raise
        finally:
            self._sending.wake()
        self._link.flush()
        if self._stalls and self._protocol.failure is None:
            await self._link.all_taken()
        await self._link.shut(self._limits.close_timeout_s)

    def _finish_soon(self) -> None:
        log.info("certificate ends soon", peer=str(self._peer), advice="finish and come back")
        self._going_away.set()
        if self._protocol.role is Role.SERVER:
            self.goaway()

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
        self._receiving.take_no_more()
        self._sending.wake()
        self._receiving.stop()

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
