"""What arrives on a connection goes straight to its engine: no reader, no task that waits for it.

That costs more than a short message itself. Here whoever reads is called at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynctls.errors import TruncatedError
from asynctls.tls.incoming import MOST_IN_BIO_BYTES
from asynctls.tls.shaking_hands import flush
from asynctls.tls.standing_in import StandIn

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from asynctls.tls.engine import Engine
    from asynctls.tls.records import Octets

__all__ = ["CLOSED_HERE", "Direct", "lost"]

CLOSED_HERE: Final = "the connection was closed at this end before the peer had ended its own"
"""What whoever still reads is told."""

_MOST_UNREAD_BYTES: Final = 1 << 16


class Direct(StandIn):
    """Takes a connection over from its reader, until `let_go`.

    Where more than 64 KiB lie unread, no more is taken from the system; they lie
    here, and the engine gets four full records at most at once, since its buffer keeps the size it
    once had. After the peer's end it gets nothing more.

    Args:
        reader: of the connection; what lies in it is read first.
        writer: likewise.
        engine: takes what arrives.
        readable: is called whenever there may be something to read, and at the end.

    Attributes:
        congested: the peer is slower than we write.
        more: there may be something to `read`; false says that there is not.
    """

    __slots__ = (
        "_answers_wait",
        "_engine",
        "_engine_is_dry",
        "_error",
        "_lost",
        "_paused",
        "_readable",
        "_unread",
        "_unread_bytes",
        "congested",
        "more",
    )

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        engine: Engine,
        readable: Callable[[], None],
    ) -> None:
        super().__init__(reader, writer)
        self._engine = engine
        self._readable = readable
        self._paused = False
        self._answers_wait = False
        # A transport that was full before says only when it is no longer.
        most_waiting = self._transport.get_write_buffer_limits()[1]
        self.congested = self._transport.get_write_buffer_size() > most_waiting
        self._error = reader.exception()
        self._lost = self._error is not None
        # A list: they are two or three at the most, and an empty deque takes 760 bytes.
        self._unread: list[Octets] = []
        self._unread_bytes = 0
        self._engine_is_dry = False
        self.more = True

        for received in self._step_in():
            if not self._lost:
                self._hold(received)

    def _hold(self, received: bytes) -> None:
        """What arrived is kept until it is read; ``b""`` is the peer's FIN."""
        self._unread.append(received)
        self._unread_bytes += len(received)

    def let_go(self) -> None:
        """The reader gets what arrives from now on."""
        self._step_out()
        self._readable = _nobody_reads
        self._unread.clear()
        self._answers_wait = False
        self._resume()

    def read(self, n: int) -> bytes | None:
        """As `Engine.read`: ``b""`` at the peer's clean end, None: not yet.

        Raises:
            TruncatedError: the peer's direction ended in any other way.
        """
        engine = self._engine
        while True:
            if self._engine_is_dry and self._unread:
                received = self._unread.pop(0)
                self._unread_bytes -= len(received)
                self._feed(received)
            plaintext = engine.read(n)
            if engine.to_send and flush(engine, self._transport) and self.congested:
                # An answer of OpenSSL's own (to a renegotiation): a peer that provokes many and
                # takes none must not fill our memory.
                self._answers_wait = True
                self._pause()
            self._engine_is_dry = plaintext is None or engine.dry
            if plaintext is not None or not self._unread:
                break
        self.more = bool(self._unread) or self._lost or not self._engine_is_dry
        if self._paused and not self.more and not self._answers_wait:
            self._resume()
        if plaintext is not None:
            return plaintext
        if self._lost:
            if isinstance(self._error, OSError):
                raise lost(self._error) from self._error
            raise TruncatedError(CLOSED_HERE)
        return None

    def _feed(self, received: Octets) -> None:
        if len(received) > MOST_IN_BIO_BYTES:
            view = memoryview(received)
            received, rest = view[:MOST_IN_BIO_BYTES], view[MOST_IN_BIO_BYTES:]
            self._unread.insert(0, rest)
            self._unread_bytes += len(rest)
        self._engine_is_dry = False
        self._engine.receive_data(received)

    def _pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    # What the transport says

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._engine_is_dry and not self._unread:
            self._feed(data)
        else:
            self._hold(data)
        self._readable()
        if self._unread_bytes > _MOST_UNREAD_BYTES:
            self._pause()
        elif self._unread:
            # A view of it would keep the whole piece alive, while more may come.
            self._unread[0] = bytes(self._unread[0])

    def eof_received(self) -> bool | None:
        """See `asyncio.Protocol`."""
        self._hold(b"")
        self._readable()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._lost = True
        self._error = exc
        super().connection_lost(exc)
        self._readable()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.congested = True
        super().pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.congested = False
        super().resume_writing()
        if self._answers_wait:
            self._answers_wait = False
            self._resume()


def _nobody_reads() -> None:
    pass


def lost(error: OSError) -> TruncatedError:
    """The connection was lost by ``error`` before the peer had ended its direction."""
    return TruncatedError(
        f"the connection was lost ({error.strerror or error}): what arrived may not be "
        "all that was sent"
    )
