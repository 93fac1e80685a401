"""The wire, listened to: a relay in this process that carries bytes as they are and lists them.

What goes through it is what a network would see: TLS records, whole and unchanged, each with the
time at which it went by. It has no keys.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from asynctls.client.connecting import open_connection
from asynctls.config import Address
from asynctls.errors import ServerUnreachableError
from asynctls.runtime import Connections, listen
from asynctls.tls.closing import flushed
from asynctls.tls.messages import Lister

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asynctls.tls.messages import TLSMessage
    from asynctls.tls.records import Part

__all__ = ["Recording", "Relay", "Seen", "relaying"]

_ANY_PORT = Address("127.0.0.1", 0)
_CHUNK_OCTETS = 1 << 16
# Less than a client waits for its handshake, which comes to nothing then: here it is known why.
_CONNECT_S = 8.0
_END_S = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A message that went by: when (µs after the connection's first byte), and from which end."""

    at_us: float
    by_client: bool
    message: TLSMessage


@dataclass(slots=True)
class Recording:
    """One connection, as it went by.

    Attributes:
        seen: its messages, in their order.
        octets: what was carried, by `by_client`.
        handed_on: in how many pieces, likewise.
        began_s: when its first byte went by, on `perf_counter`'s clock.
        near: the relay's own address towards whoever it carries to, as that one sees it.
    """

    seen: list[Seen] = field(default_factory=list)
    octets: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    handed_on: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    began_s: float = 0.0
    near: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _listers: dict[bool, Lister] = field(
        default_factory=lambda: {True: Lister(), False: Lister()}, repr=False
    )

    def counted(self, *, by_client: bool) -> dict[Part, int]:
        """The bytes that were listed, by part."""
        return self._listers[by_client].scanner.meter.bytes_by_part

    def take(self, chunk: bytes, *, by_client: bool) -> None:
        """Lists what a read gave."""
        now = perf_counter()
        self.began_s = self.began_s or now
        self.octets[by_client] += len(chunk)
        self.handed_on[by_client] += 1
        at_us = (now - self.began_s) * 1e6
        for message in self._listers[by_client].feed(chunk):
            self.seen.append(Seen(at_us, by_client, message))


class Relay:
    """Carries every connection that it gets to one address; made by `relaying`.

    Attributes:
        address: where it listens.
        recordings: of its connections, in the order in which they came.
        failure: why nobody could be reached there; None: somebody was.
    """

    def __init__(self, to: Address) -> None:
        self.address = to
        self.recordings: list[Recording] = []
        self.failure: ServerUnreachableError | None = None
        self._to = to

    async def take(self) -> list[Recording]:
        """The recordings so far, which are the caller's now; each has ended.

        Raises:
            ServerUnreachableError: a connection did not end.
        """
        taken, self.recordings = self.recordings, []
        try:
            async with asyncio.timeout(_END_S):
                for each in taken:
                    await each.ended.wait()
        except TimeoutError as error:
            raise ServerUnreachableError(
                f"a connection with {self._to} did not end within {_END_S:g} s"
            ) from error
        return taken

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carries one connection to its end."""
        try:
            far_reader, far = await open_connection(self._to, timeout_s=_CONNECT_S)
        except ServerUnreachableError as error:
            self.failure = error
            writer.transport.abort()
            return
        recording = Recording()
        self.recordings.append(recording)
        try:
            recording.near = str(Address(*far.get_extra_info("sockname")[:2]))
            async with asyncio.TaskGroup() as directions:
                directions.create_task(_carry(recording, reader, far, by_client=True))
                directions.create_task(_carry(recording, far_reader, writer, by_client=False))
        except* OSError:
            # One end has gone; that the other learns from its own end of the connection.
            pass
        finally:
            writer.transport.abort()
            far.transport.abort()
            recording.ended.set()


async def _carry(
    recording: Recording,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    by_client: bool,
) -> None:
    while chunk := await reader.read(_CHUNK_OCTETS):
        if writer.transport.is_closing():
            # uvloop raises no OSError for that.
            raise ConnectionResetError
        recording.take(chunk, by_client=by_client)
        writer.write(chunk)
        await writer.drain()
    await flushed(writer)
    if not writer.transport.is_closing():
        writer.write_eof()


@asynccontextmanager
async def relaying(to: Address) -> AsyncIterator[Relay]:
    """A relay to `to`, on loopback, while the context lasts."""
    relay = Relay(to)
    async with (
        Connections() as connections,
        listen(_ANY_PORT, connections.served_by(relay.carry), role="costs") as listener,
    ):
        relay.address = listener.address
        yield relay
