"""The attacks that load a server, each a coroutine that goes on until it is cancelled."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from asynctls.probe.attack import PATIENCE_S
from asynctls.probe.insider import Insider, inside
from asynctls.probe.offers import say
from asynctls.session.shape import EMPTY_MAP, FIXED, NUMBERING, byte_string_head
from asynctls.session.states import FrameType

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.probe.attacker import Attacker
    from asynctls.tls import Stream

__all__ = [
    "CONNECTIONS",
    "MEMBERS",
    "alerts_never_read",
    "closed_windows",
    "left_handshakes",
    "oversized_lengths",
    "slow_handshakes",
    "tiny_frames",
]

CONNECTIONS = 64
"""At once, of those that need no certificate."""

MEMBERS = 2
"""At once, of those that are let in: a session may well hold some tens of MiB."""

_BYTE_EVERY_S = 0.25
_STAYS_S = 3.0
_WINDOW_BYTES = 2048
_MESSAGE = bytes(1 << 16)
_AT_A_STRETCH = 8
_IN_ONE_RECORD = 128
_PIECE_BYTES = 1 << 14
_CLAIMED_BYTES = 1 << 30
_SENT_BYTES = 1 << 20

# Records of TLS 1.2 (RFC 5246, section 6.2.1): type, version, length.
_OLD_HELLO = bytes.fromhex("1603000004") + bytes.fromhex("01000000")
_OVERSIZED_RECORD = bytes.fromhex("160303ffff")
_HANDSHAKE_RECORD = bytes.fromhex("1603034000")
_OVERSIZED_HELLO = bytes.fromhex("01ffffff0303")


async def slow_handshakes(attacker: Attacker) -> None:
    """A good ClientHello, one byte every 0.25 s, then nothing, for as long as the server waits."""

    async def one() -> None:
        async with attacker.connection() as (reader, writer):
            for byte in attacker.hello():
                say(writer, bytes((byte,)))
                await writer.drain()
                attacker.begun.set()
                await asyncio.sleep(_BYTE_EVERY_S)
            await _to_its_end(reader)

    await attacker.keep(CONNECTIONS, one)


async def left_handshakes(attacker: Attacker) -> None:
    """A whole ClientHello, or nothing at all, and then nothing, for as long as the server waits."""

    async def one(hello: bytes) -> None:
        async with attacker.connection() as (reader, writer):
            say(writer, hello)
            attacker.begun.set()
            await _to_its_end(reader)

    hello = attacker.hello()
    async with asyncio.TaskGroup() as tasks:
        for first in (hello, b""):
            tasks.create_task(attacker.keep(CONNECTIONS // 2, partial(one, first)))


async def alerts_never_read(attacker: Attacker) -> None:
    """What must be answered by a fatal alert; then more and more is sent, and nothing read."""

    async def one() -> None:
        async with attacker.connection(window_bytes=_WINDOW_BYTES) as (_, writer):
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            say(writer, _OLD_HELLO)
            attacker.begun.set()
            async with asyncio.timeout(_STAYS_S):
                while True:
                    await writer.drain()
                    await asyncio.sleep(_BYTE_EVERY_S)
                    say(writer, bytes(1024))

    await attacker.keep(CONNECTIONS, one)


async def oversized_lengths(attacker: Attacker) -> None:
    """Records, handshake messages and frames that say they are larger than any may be."""

    async def raw(words: str, head: bytes, more: bytes) -> None:
        async with attacker.connection() as (reader, writer):
            with attacker.refused(words):
                async with asyncio.timeout(PATIENCE_S):
                    say(writer, head)
                    attacker.begun.set()
                    for _ in range(_SENT_BYTES // len(more)):
                        say(writer, more)
                        await writer.drain()
                    await _to_its_end(reader)

    async def framed() -> None:
        async with attacker.connection() as connection:
            certificate = attacker.target.identity.certificate
            stream = await attacker.stream(connection)
            async with inside(stream, certificate=certificate) as insider:
                numbering = NUMBERING.pack(FrameType.DATA << 8, insider.seal.sequence)
                head = FIXED + numbering + EMPTY_MAP + byte_string_head(_CLAIMED_BYTES)
                with attacker.refused("a frame of 1 GiB"):
                    async with asyncio.timeout(PATIENCE_S):
                        await insider.send(head)
                        await insider.last_answer()

    piece = bytes(_PIECE_BYTES)
    hello = _HANDSHAKE_RECORD + _OVERSIZED_HELLO + piece[len(_OVERSIZED_HELLO) :]
    async with asyncio.TaskGroup() as tasks:
        for each in (
            partial(raw, "a record of 64 KiB", _OVERSIZED_RECORD, piece),
            partial(raw, "a ClientHello of 16 MiB", hello, _HANDSHAKE_RECORD + piece),
        ):
            tasks.create_task(attacker.keep(MEMBERS, each))
        if attacker.target.sessions:
            tasks.create_task(attacker.keep(MEMBERS, framed))


async def tiny_frames(attacker: Attacker) -> None:
    """Frames of one byte, as many as can be sent, of a message that never ends.

    Each in a record of its own, and very many in one record; without sessions there are the records
    alone.
    """

    async def one(together: int) -> None:
        async with attacker.connection() as connection:
            stream = await attacker.stream(connection)
            tiny = await _tiny(attacker, stream)
            while True:
                for _ in range(_AT_A_STRETCH):
                    stream.write(b"".join(tiny() for _ in range(together)))
                await stream.drain()
                attacker.begun.set()
                # Our own loop has a bystander to look after.
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for together in (1, _IN_ONE_RECORD if attacker.target.sessions else 1):
            tasks.create_task(attacker.keep(MEMBERS // 2, partial(one, together)))


async def _tiny(attacker: Attacker, stream: Stream) -> Callable[[], bytes]:
    """What makes the next byte, once there is a session where the server has some."""
    if not attacker.target.sessions:
        return lambda: b"x"
    insider = Insider(stream, certificate=attacker.target.identity.certificate)
    await insider.open()
    return partial(insider.seal.data, b"x", more=True)


async def closed_windows(attacker: Attacker) -> None:
    """Windows of 2 KiB that stay shut: in the handshake, and once let in, where much is sent."""

    async def outside() -> None:
        async with attacker.connection(window_bytes=_WINDOW_BYTES) as (_, writer):
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            say(writer, attacker.hello())
            await asyncio.sleep(_STAYS_S)

    async def member() -> None:
        async with attacker.connection(window_bytes=_WINDOW_BYTES) as connection:
            stream = await attacker.stream(connection)
            transport = connection[1].transport
            if attacker.target.sessions:
                async with attacker.session(stream) as session:
                    transport.pause_reading()  # type: ignore[attr-defined]
                    while True:
                        await session.send(_MESSAGE)
                        attacker.begun.set()
            transport.pause_reading()  # type: ignore[attr-defined]
            while True:
                stream.write(_MESSAGE)
                await stream.drain()
                attacker.begun.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(attacker.keep(MEMBERS, member))
        tasks.create_task(attacker.keep(CONNECTIONS, outside))


async def _to_its_end(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        pass
