"""The attacks that load a server, each a coroutine that goes on until it is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

from asynctls.errors import ErrorCode
from asynctls.probe.answers import hear
from asynctls.probe.attack import PATIENCE_S
from asynctls.probe.insider import Insider
from asynctls.probe.offers import alert_words, answered, say
from asynctls.session.shape import EMPTY_MAP, FIXED, NUMBERING, byte_string_head
from asynctls.session.states import FrameType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
_TOO_MUCH = (ErrorCode.TOO_LARGE, ErrorCode.MALFORMED)

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
    """Records, handshake messages and frames that say they are larger than any may be.

    An alert or an ERROR shows that what it answers has arrived.
    """

    async def raw(what: str, head: bytes, more: bytes) -> None:
        async with attacker.connection() as (reader, writer):
            # Who has refused may cut us off while we go on: the alert is to be read before.
            answer, _ = await asyncio.gather(
                answered(reader), _push(writer, head, more, attacker.begun)
            )
        if answer.alert is not None:
            attacker.refused[what] = alert_words(answer.alert)
        elif answer.closed:
            await attacker.cut_off(what)
        else:
            attacker.not_refused(what)

    async def framed(what: str) -> None:
        async with attacker.connection() as connection:
            stream = await attacker.stream(connection)
            insider = Insider(stream, certificate=attacker.target.identity.certificate)
            # READY: what is said next will be read.
            await insider.open()
            numbering = NUMBERING.pack(FrameType.DATA << 8, insider.seal.sequence)
            await insider.send(FIXED + numbering + EMPTY_MAP + byte_string_head(_CLAIMED_BYTES))
            heard = await hear(insider)
        if not heard.over:
            attacker.not_refused(what)
        elif heard.error is None and not heard.closed:
            await attacker.cut_off(what)
        elif heard.error is not None and heard.error.code in _TOO_MUCH:
            attacker.refused[what] = f"ERROR {heard.error.code}: {heard.error.text}"

    piece = bytes(_PIECE_BYTES)
    hello = _HANDSHAKE_RECORD + _OVERSIZED_HELLO + piece[len(_OVERSIZED_HELLO) :]
    attacks: dict[str, Callable[[str], Awaitable[None]]] = {
        "a record of 64 KiB": partial(raw, head=_OVERSIZED_RECORD, more=piece),
        "a ClientHello of 16 MiB": partial(raw, head=hello, more=_HANDSHAKE_RECORD + piece),
    }
    if attacker.target.sessions:
        attacks["a frame of 1 GiB"] = framed
    attacker.due |= attacks.keys()
    async with asyncio.TaskGroup() as tasks:
        for what, attack in attacks.items():
            tasks.create_task(attacker.keep(MEMBERS, partial(attack, what)))


async def _push(
    writer: asyncio.StreamWriter, head: bytes, more: bytes, begun: asyncio.Event
) -> None:
    """1 MiB, or what the server takes of it."""
    with contextlib.suppress(OSError):
        async with asyncio.timeout(PATIENCE_S):
            say(writer, head)
            begun.set()
            for _ in range(_SENT_BYTES // len(more)):
                say(writer, more)
                await writer.drain()


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
        # They would have to be let in beside those who have their address's places.
        await attacker.begun.wait()
        tasks.create_task(attacker.keep(CONNECTIONS, outside))


async def _to_its_end(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        pass
