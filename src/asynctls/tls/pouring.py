"""From one connection into another as the bytes arrive, without a task that wakes for each piece.

asyncio's streams copy what arrives into a buffer, wake a task, and copy it out again: in a relay
that costs more than the cryptography. So while nothing but data goes by, a `_Tap` stands in for the
connection's protocol, and what arrives is handed on at once. Whatever else happens (an end, a
loss, a sink that is full) wakes the task, and is told by the streams as ever.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from enum import Enum
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

__all__ = ["MOST_AT_ONCE_BYTES", "Due", "Pourable", "at_hand", "pour"]

_CHUNK_BYTES = 1 << 18
MOST_AT_ONCE_BYTES = _CHUNK_BYTES + 1024
"""So much of TLS holds 256 KiB of data: a record of 16 KiB takes 29 bytes more."""
_AT_HAND_BYTES = 1 << 16
_NOTHING = memoryview(b"")


class Due(Enum):
    """What comes after what was handed on, before anything else that arrives."""

    REST = "more of what has arrived"
    WORD = "what only `read` tells: an end, or a failure"


class Pourable(ABC):
    """A stream over a TCP connection; `Stream` and `PlainStream` are such."""

    most_at_once = _CHUNK_BYTES
    """How many bytes `arrived` is given at most, `MOST_AT_ONCE_BYTES` or less."""

    @property
    @abstractmethod
    def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """What it is over."""

    @abstractmethod
    def arrived(self, received: memoryview, /) -> tuple[bytes | memoryview, Due | None]:
        """The data in `received`, the next bytes of the connection, and what is due then.

        What was received is gone afterwards; it is nothing when the rest of before is asked for.
        """

    @abstractmethod
    def write(self, data: bytes | memoryview, /) -> object:
        """Send; what is in a view is sent or copied by the time that this returns."""

    @abstractmethod
    async def drain(self) -> None:
        """Wait while the peer is slower than we write."""


async def pour(source: Pourable, sink: Pourable, carried: Callable[[int], None]) -> None:
    """Hand on what comes, until there is something that the source's `read` is to tell.

    Memory is bounded: nothing more is read while the sink is full.

    Args:
        source: nobody else reads from it.
        sink: nobody else writes to it.
        carried: is told how many bytes the sink was given.

    Raises:
        TruncatedError: the sink is lost.
    """
    reader, writer = source.connection
    flow = _Flow(source, sink, carried)
    flow.hand_on(_NOTHING)
    while await flow.settled() is not Due.WORD:
        received = at_hand(reader)
        if received is None:
            break
        if not received:
            return
        flow.hand_on(memoryview(received))
    else:
        return
    with _Tap(
        cast("asyncio.Transport", writer.transport), flow.hand_on, source.most_at_once
    ) as tap:
        while await flow.settled() is not Due.WORD and not tap.over:
            await tap.interrupted()


class _Flow:
    """Hands on from source to sink, and knows what is due then."""

    def __init__(self, source: Pourable, sink: Pourable, carried: Callable[[int], None]) -> None:
        self._source = source
        self._sink = sink
        self._to = sink.connection[1].transport
        self._most_waiting = self._to.get_write_buffer_limits()[1]
        self._carried = carried
        self._due: Due | None = None

    def hand_on(self, received: memoryview) -> bool:
        """Hand on what `received` holds; false: `settled` is due before there is more."""
        data, self._due = self._source.arrived(received)
        if data:
            self._sink.write(data)
            self._carried(len(data))
        return self._due is None and self._to.get_write_buffer_size() <= self._most_waiting

    async def settled(self) -> Due | None:
        """Wait until all that has arrived is handed on, and the sink has room again."""
        while self._due is Due.REST or self._to.get_write_buffer_size() > self._most_waiting:
            await self._sink.drain()
            # Who sends records of a byte has a thousand of them in what arrives at once: others
            # are to have their turn in between.
            await asyncio.sleep(0)
            if self._due is Due.REST:
                self.hand_on(_NOTHING)
        return self._due


class _Buffers(threading.local):
    """One buffer for all taps of a thread: each is done with it before another one reads."""

    def __init__(self) -> None:
        self.shared = memoryview(bytearray(MOST_AT_ONCE_BYTES))


_buffers = _Buffers()


class _Tap(asyncio.BufferedProtocol):
    """Takes what arrives while the context lasts; all else is for the protocol beneath."""

    def __init__(
        self, transport: asyncio.Transport, take: Callable[[memoryview], bool], most: int
    ) -> None:
        self._transport = transport
        # That of the reader and the writer.
        self._beneath = cast("asyncio.Protocol", transport.get_protocol())
        self._take = take
        self._buffer = _buffers.shared[:most]
        self._interrupted = asyncio.Event()
        self._failure: Exception | None = None
        self.over = transport.is_closing()
        """Nothing more will arrive."""

    def __enter__(self) -> Self:
        self._let_in(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._let_in(self._beneath)

    def _let_in(self, protocol: asyncio.BaseProtocol) -> None:
        if self._transport.is_closing():
            self._transport.set_protocol(protocol)
            return
        # uvloop looks at what a protocol can do when it begins to read.
        self._transport.pause_reading()
        self._transport.set_protocol(protocol)
        if not self.over:
            self._transport.resume_reading()

    async def interrupted(self) -> None:
        """Go on taking, and wait until `take` said no or failed, or the connection is over."""
        if self._interrupted.is_set():
            self._interrupted.clear()
            if not self._transport.is_closing():
                self._transport.resume_reading()
        await self._interrupted.wait()
        if self._failure is not None:
            raise self._failure

    # What the transport calls

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            if self._take(self._buffer[:nbytes]):
                return
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self._failure = error
        self._transport.pause_reading()
        self._interrupted.set()

    def eof_received(self) -> bool | None:
        self._end()
        return self._beneath.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        self._beneath.connection_lost(exc)

    def _end(self) -> None:
        self.over = True
        self._interrupted.set()

    def pause_writing(self) -> None:
        self._beneath.pause_writing()

    def resume_writing(self) -> None:
        self._beneath.resume_writing()


def at_hand(reader: asyncio.StreamReader) -> bytes | None:
    """What has arrived and nobody has read; `b""` for an end or a loss, None for nothing."""
    reading = reader.read(_AT_HAND_BYTES)
    try:
        reading.send(None)
    except StopIteration as done:
        found: bytes = done.value
        return found
    except OSError:
        return b""
    # It would wait.
    reading.close()
    return None
