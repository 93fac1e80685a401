"""A handshake over asyncio: its time, its place among others, and what ends it ends all.

What arrives goes straight to the engine. The task that waits is woken once, at the end.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asynctls.errors import HandshakeError, HandshakeTimeoutError, PeerRefusedError
from asynctls.tls import gate as places
from asynctls.tls.addresses import network_of
from asynctls.tls.closing import hang_up, linger
from asynctls.tls.standing_in import StandIn

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.tls.engine import Engine
    from asynctls.tls.gate import Gate

__all__ = ["flush", "shake_hands"]

# Past these the peer is gone, or would not understand an alert; any other failure has sent one.
_NOTHING_TO_TELL = (HandshakeError, asyncio.CancelledError, KeyboardInterrupt, SystemExit)


async def shake_hands(
    make_engine: Callable[[], Engine],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    gate: Gate | None,
    timeout_s: float,
    on_flight: Callable[[Engine], None] | None = None,
) -> Engine:
    """Shake hands, within its time; what ends it otherwise also ends the connection.

    Args:
        make_engine: makes the engine; a server's once its client has said something.
        reader: of a connection that nobody has read from.
        writer: likewise.
        gate: where a server has its places; None: we are the client, and speak first.
        timeout_s: for all of it, the waits at the gate included.
        on_flight: is called whenever a flight of ours has left.
    """
    handshake = _Handshake(make_engine, reader, writer, gate, on_flight)
    try:
        return await handshake.run(timeout_s)
    except OSError as error:
        await hang_up(writer)
        raise HandshakeError(
            f"the connection was lost during the handshake ({error.strerror or error})"
        ) from error
    except BaseException as error:
        if isinstance(error, PeerRefusedError) or not isinstance(error, _NOTHING_TO_TELL):
            await linger(reader, writer, gate)
        else:
            await hang_up(writer)
        raise


class _Handshake(StandIn):
    """Has the engine go on whenever something arrives, until it is done."""

    __slots__ = (
        "_done",
        "_engine",
        "_gate",
        "_loop",
        "_make_engine",
        "_network",
        "_on_flight",
        "_place_ends",
        "_unread",
        "_waiting",
    )

    def __init__(
        self,
        make_engine: Callable[[], Engine],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        gate: Gate | None,
        on_flight: Callable[[Engine], None] | None,
    ) -> None:
        super().__init__(reader, writer)
        self._make_engine = make_engine
        self._gate = gate
        self._network = None if gate is None else network_of(writer)
        self._on_flight = on_flight
        self._engine: Engine | None = None
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[Engine] = self._loop.create_future()
        self._waiting: asyncio.Future[None] | None = None
        self._place_ends: asyncio.TimerHandle | None = None
        self._unread: list[bytes] = []

    async def run(self, timeout_s: float) -> Engine:
        """Shake hands; only once."""
        lost = self._reader.exception()
        if lost is not None:
            raise lost
        limit = self._loop.call_later(timeout_s, self._time_is_up, timeout_s)
        try:
            for received in self._step_in():
                self.data_received(received)
            if self._gate is None and not self._done.done():
                self._go_on()
            return await self._done
        except BaseException:
            self._end()
            raise
        finally:
            limit.cancel()

    def _time_is_up(self, timeout_s: float) -> None:
        self._fail(HandshakeTimeoutError(f"the handshake was not done within {timeout_s:g} s"))

    # A place

    def _enter(self, gate: Gate) -> None:
        if self._waiting is not None:
            return
        waiting = gate.enter(self._network)
        if waiting is None:
            self._begin()
            return
        self._waiting = waiting
        waiting.add_done_callback(self._may_begin)
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def _may_begin(self, _: asyncio.Future[None]) -> None:
        # Whoever was cancelled meanwhile gives the place back as it ends.
        if self._waiting is not None and not self._done.done():
            self._wait_no_longer()
            self._begin()

    def _wait_no_longer(self) -> None:
        self._waiting = None
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _begin(self) -> None:
        # A client that lets us wait does so without a place: else a few that say hello and no more
        # would keep everybody out.
        self._place_ends = self._loop.call_later(places.PLACE_S, self._leave)
        self._go_on()

    def _leave(self) -> None:
        if self._gate is None:
            return
        if self._place_ends is not None:
            self._place_ends.cancel()
            self._place_ends = None
            self._gate.leave(self._network)
        if self._waiting is not None:
            self._gate.withdraw(self._waiting, self._network)
            self._wait_no_longer()

    # What arrives

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._done.done():
            return
        self._unread.append(data)
        if self._gate is None or self._place_ends is not None:
            self._go_on()
        else:
            # A client that says nothing yet costs no engine and takes no place.
            self._enter(self._gate)

    def eof_received(self) -> bool | None:
        """See `asyncio.Protocol`."""
        self.data_received(b"")
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        super().connection_lost(exc)
        if isinstance(exc, OSError):
            self._fail(exc)
        else:
            self.data_received(b"")

    def _go_on(self) -> None:
        try:
            engine = self._engine = self._engine or self._make_engine()
            for received in self._unread:
                engine.receive_data(received)
            self._unread.clear()
            try:
                done = engine.handshake()
            finally:
                sent = flush(engine, self._transport)
            if sent and self._on_flight is not None:
                self._on_flight(engine)
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self._fail(error)
            return
        if done:
            self._end()
            self._done.set_result(engine)

    def _fail(self, error: Exception) -> None:
        if not self._done.done():
            self._end()
            self._done.set_exception(error)

    def _end(self) -> None:
        self._leave()
        self._step_out()


def flush(engine: Engine, transport: asyncio.WriteTransport) -> bool:
    """Hand what is to be sent to the transport; false where there is nothing, or nobody."""
    flight = engine.data_to_send()
    if not flight or transport.is_closing():
        return False
    transport.write(flight)
    return True
