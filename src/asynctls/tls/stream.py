"""A TLS connection as coroutines: the engine over an asyncio reader and writer (RFC 5246).

Why not `asyncio.start_server(ssl=…)`: when a handshake fails there, the alert is dropped, and the
peer never learns why it was refused; here every alert reaches its peer. It also has no place for
`admit`, no bound on the handshakes under way, and 256 KiB of buffer for each connection.

Dead peers are found by TCP (`liveness`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Self

from asynctls.errors import TruncatedError
from asynctls.tls.addresses import address_of
from asynctls.tls.closing import LINGER_S, flushed, hang_up, linger
from asynctls.tls.direct import CLOSED_HERE, Direct, lost
from asynctls.tls.engine import Engine
from asynctls.tls.incoming import MOST_IN_BIO_BYTES
from asynctls.tls.liveness import KEEPALIVE_S, allow_stalls, watch_for_death
from asynctls.tls.pouring import MOST_AT_ONCE_BYTES, Due, Pourable
from asynctls.tls.shaking_hands import flush, shake_hands
from asynctls.tls.sides import Admit, Side

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from asynctls.tls.gate import Gate
    from asynctls.tls.records import Meter, Octets

__all__ = ["CLOSE_TIMEOUT_S", "Stream"]

CLOSE_TIMEOUT_S = 10.0
"""How long `Stream.close` waits for the peer to take what was written."""

_CHUNK_BYTES = 1 << 16

# A peer that sends records of a byte has a thousand of them in what has arrived at once, which are
# read without any wait: others are to have their turn in between.
_READS_AT_A_STRETCH = 16
_RECORDS_AT_A_STRETCH = 32


class Stream(Pourable):
    """An established TLS connection; made by `accept` and `connect`.

    One task reads while others write. Each direction ends by itself: `read` gives `b""` when the
    peer has said that it sent all, `write_eof` says so for us.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        engine: Engine,
        *,
        keepalive_s: float,
        gate: Gate | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._transport = writer.transport
        self._engine = engine
        self._gate = gate
        watch_for_death(writer, keepalive_s=keepalive_s)
        self._reading = False
        self._reads = 0
        self._read_returned: asyncio.Future[None] | None = None
        self._closing = False
        self._discarding = False
        self._direct: Direct | None = None
        self.plaintext_sent = 0
        """Bytes that `write` took."""
        self.plaintext_received = 0
        """Bytes that `read` gave."""

    @classmethod
    async def accept(
        cls,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext,
        *,
        admit: Admit,
        gate: Gate,
        timeout_s: float,
        keepalive_s: float = KEEPALIVE_S,
    ) -> Self:
        """Be the server of a TCP connection. The connection is closed if this raises.

        Args:
            reader: from `asyncio.start_server` without `ssl`.
            writer: likewise.
            context: from `contexts.server_context`.
            admit: decides on the client.
            gate: the service's bounds.
            timeout_s: for the whole handshake, the wait at the gate included.
            keepalive_s: how long the client may be silent to TCP before it counts as dead.

        Raises:
            PeerRefusedError: the client was refused, and has been told why.
            RefusedByPeerError: the client refused us.
            HandshakeTimeoutError: it took too long.
            HandshakeError: the client went away, or does not speak TLS.
        """
        make_engine = partial(Engine, context, side=Side.SERVER, admit=admit)
        engine = await shake_hands(make_engine, reader, writer, gate=gate, timeout_s=timeout_s)
        return cls(reader, writer, engine, gate=gate, keepalive_s=keepalive_s)

    @classmethod
    async def connect(
        cls,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None,
        admit: Admit,
        timeout_s: float,
        keepalive_s: float = KEEPALIVE_S,
        session: ssl.SSLSession | None = None,
        on_flight: Callable[[Engine], None] | None = None,
    ) -> Self:
        """Be the client of a TCP connection. The connection is closed if this raises.

        Args:
            reader: from `asyncio.open_connection` without `ssl`.
            writer: likewise.
            context: from `contexts`.
            server_hostname: whom the server must prove to be; None only with a context that checks
                no host.
            admit: decides on the server.
            timeout_s: for the whole handshake.
            keepalive_s: how long the server may be silent to TCP before it counts as dead.
            session: `ssl_session` of an earlier stream of the same context, to resume.
            on_flight: is called with the facts so far whenever a flight of ours has left.

        Raises:
            PeerRefusedError: the server was refused, and has been told why.
            RefusedByPeerError: the server refused us.
            HandshakeTimeoutError: it took too long.
            HandshakeError: the server went away, or does not speak TLS.
        """
        make_engine = partial(
            Engine,
            context,
            side=Side.CLIENT,
            admit=admit,
            server_hostname=server_hostname,
            session=session,
        )
        engine = await shake_hands(
            make_engine, reader, writer, gate=None, timeout_s=timeout_s, on_flight=on_flight
        )
        return cls(reader, writer, engine, keepalive_s=keepalive_s)

    # Data

    async def read(self, n: int = _CHUNK_BYTES) -> bytes:
        """At least one byte and at most `n`; `b""` when the peer said that it has sent all.

        Raises:
            TruncatedError: the peer's direction ended in any other way.
            RuntimeError: another task is reading.
        """
        if self._reading:
            raise RuntimeError("another task is reading from this stream")
        self._reading = True
        try:
            self._reads += 1
            if self._reads % _READS_AT_A_STRETCH == 0:
                await asyncio.sleep(0)
            while True:
                plaintext = self._engine.read(n)
                if self._engine.to_send and flush(self._engine, self._transport):
                    # An answer of OpenSSL's own (to a renegotiation); a peer that provokes many
                    # and reads none must not fill our memory.
                    await self.drain()
                if plaintext is not None:
                    self.plaintext_received += len(plaintext)
                    return plaintext
                self._engine.receive_data(await self._receive())
        finally:
            self._reading = False
            if self._read_returned is not None and not self._read_returned.done():
                self._read_returned.set_result(None)

    @property
    def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Reader and writer beneath, for `pouring`."""
        return self._reader, self._writer

    most_at_once = MOST_AT_ONCE_BYTES

    def arrived(self, received: memoryview) -> tuple[bytes, Due | None]:
        """The data in records that have arrived in full (`pouring.Pourable`)."""
        engine = self._engine
        plaintext, all_read = engine.decrypt(received, most=_RECORDS_AT_A_STRETCH)
        self.plaintext_received += len(plaintext)
        due = None if all_read else Due.REST
        return plaintext, Due.WORD if engine.has_word else due

    def deliver(self, readable: Callable[[], None]) -> None:
        """From now on nobody awaits `read`: `read_now` reads, whenever `readable` is called.

        Look once at first, too. Whoever does not read slows the peer down.
        """
        self._direct = Direct(self._reader, self._writer, self._engine, readable)

    def read_now(self, n: int = _CHUNK_BYTES) -> tuple[bytes | None, bool]:
        """As `read`, or None: not yet; and whether there may be more.

        Raises:
            TruncatedError: the peer's direction ended in any other way than by its word.
            RuntimeError: without `deliver`.
        """
        if self._direct is None:
            raise RuntimeError("read_now is for whoever is called when there is something to read")
        plaintext = self._direct.read(n)
        if plaintext:
            self.plaintext_received += len(plaintext)
        return plaintext, self._direct.more

    @property
    def congested(self) -> bool:
        """Whether `drain` would wait; known after `deliver`."""
        return self._direct is not None and self._direct.congested

    async def _receive(self) -> bytes:
        if self._discarding:
            raise TruncatedError(CLOSED_HERE)
        try:
            # Four full records: what is taken ends where a record does.
            received = await self._reader.read(MOST_IN_BIO_BYTES)
        except OSError as error:
            raise lost(error) from error
        if not received and self._closing:
            raise TruncatedError(CLOSED_HERE)
        return received

    def write(self, plaintext: Octets) -> int:
        """Send; returns the TLS bytes that it took. Await `drain` between large writes.

        Raises:
            TruncatedError: the connection is closed or lost.
            RuntimeError: after `write_eof`.
        """
        if self._closing or self._transport.is_closing():
            raise TruncatedError("the connection is closed: nothing more can be sent")
        produced = self._engine.write(plaintext)
        self.plaintext_sent += len(plaintext)
        self._transport.write(self._engine.data_to_send())
        return produced

    async def drain(self) -> None:
        """Wait while the peer is slower than we write.

        Raises:
            TruncatedError: the connection is gone; what was sent may not have arrived.
        """
        try:
            await self._writer.drain()
        except OSError as error:
            raise _not_arrived(error) from error

    async def flush(self) -> None:
        """Wait until the kernel has taken all that was written, however long; for the end.

        Raises:
            TruncatedError: the connection is gone; what was sent may not have arrived.
        """
        try:
            await flushed(self._writer)
        except OSError as error:
            raise _not_arrived(error) from error

    def allow_stalls(self) -> None:
        """A peer that takes nothing for long is slow and not dead: as in a tunnel."""
        allow_stalls(self._writer)

    # Ends

    def write_eof(self) -> None:
        """Say that we have sent all (close_notify); reading goes on."""
        self._engine.close_notify()
        flush(self._engine, self._transport)

    async def close(self) -> None:
        """End both directions: our end is said, the peer's is waited for, and the socket closed.

        Takes `CLOSE_TIMEOUT_S` and `LINGER_S` at most; what still arrives is discarded. A task that
        reads meanwhile may read on to the peer's end. A second call returns at once.
        """
        if self._closing:
            return
        self._closing = True
        self.write_eof()
        if self._direct is not None:
            self._direct.let_go()
        try:
            if self._transport.get_write_buffer_size():
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await flushed(self._writer)
            if self._reading:
                await self._reader_gone()
        except OSError:
            # The connection is gone, or the peer takes nothing: the linger is bounded anyway.
            pass
        except BaseException:
            await hang_up(self._writer)
            raise
        if self._reading or self._engine.ended:
            # Whoever has said that it sent all sends nothing that a close could trip over.
            await hang_up(self._writer)
        else:
            self._discarding = True
            await linger(self._reader, self._writer, self._gate)

    async def _reader_gone(self) -> None:
        if self._writer.can_write_eof() and not self._writer.transport.is_closing():
            self._writer.write_eof()
        async with asyncio.timeout(LINGER_S):
            while self._reading:
                self._read_returned = asyncio.get_running_loop().create_future()
                await self._read_returned

    def abort(self) -> None:
        """Close at once, whatever is under way; the peer sees a truncation."""
        self._closing = True
        self._writer.transport.abort()

    # Facts

    @property
    def peer_address(self) -> str:
        """The peer's address as HOST:PORT."""
        return address_of(self._writer)

    def get_extra_info(self, name: str, default: object = None) -> object:
        """What the transport knows of the TCP connection, by asyncio's names."""
        found: object = self._writer.get_extra_info(name, default)
        return found

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's certificate (DER), verified; None: it showed none."""
        return self._engine.peer_certificate

    @property
    def alpn(self) -> str | None:
        """The application protocol agreed on (RFC 7301)."""
        return self._engine.alpn

    @property
    def version(self) -> str | None:
        """The protocol version agreed on, as OpenSSL names it: `TLSv1.2`."""
        return self._engine.version

    @property
    def cipher(self) -> str | None:
        """The cipher suite agreed on, as OpenSSL names it."""
        return self._engine.cipher

    @property
    def tls_unique(self) -> bytes | None:
        """The channel binding `tls-unique` (RFC 5929)."""
        return self._engine.tls_unique

    @property
    def resumed(self) -> bool:
        """The handshake resumed an earlier session."""
        return self._engine.resumed

    @property
    def extended_master_secret(self) -> bool:
        """The master secret is bound to the handshake (RFC 7627)."""
        return self._engine.extended_master_secret

    @property
    def damaged(self) -> bool:
        """A record of the peer's did not verify: it was changed on the way."""
        return self._engine.damaged

    @property
    def ssl_session(self) -> ssl.SSLSession | None:
        """The session, for a later `connect` with the same context."""
        return self._engine.ssl_session

    @property
    def sent(self) -> Meter:
        """Bytes sent, by part."""
        return self._engine.sent

    @property
    def received(self) -> Meter:
        """Bytes received, by part; what a close discarded is not among them."""
        return self._engine.received


def _not_arrived(error: OSError) -> TruncatedError:
    return TruncatedError(
        f"the connection was lost ({error.strerror or error}): what was sent may not have arrived"
    )
