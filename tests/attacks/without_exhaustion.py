"""Servers that can be worn out: each lacks the one bound that its attack is about.

Each has a loop, and a thread, of its own, as a server has: what holds it up must not hold up those
who measure that.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING
from unittest.mock import patch

from asynctls.pki.profiles import Profile
from asynctls.probe import exhaustion
from asynctls.session import receiving, shape
from asynctls.session.states import FrameType
from asynctls.tls import Gate, Stream, closing
from tests.attacks.victims import Served, Server, server_of, target_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from asynctls.config import Address
    from asynctls.probe.attack import Target
    from asynctls.session import Channel, Session
    from tests.attacks.world import World

__all__ = ["WITHOUT_DEFENCE"]

FOR_EVER_S = 600.0
DEAR_S = 0.003


class Lavish(Served):
    """Answers each message by eight of its length."""

    async def app(self, session: Session) -> None:
        async for message in session:
            for _ in range(8):
                await session.send(message)


@dataclass(frozen=True)
class Patient(Server):
    """Has four places, and a connection keeps its own for as long as it likes."""

    gate: Gate = field(default_factory=lambda: Gate(1000, lingering=1000))
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))

    async def channel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Channel:
        async with self.places:
            return await Stream.accept(
                reader,
                writer,
                self.context,
                admit=self.admit,
                gate=self.gate,
                timeout_s=FOR_EVER_S,
            )


@dataclass(frozen=True)
class Heedless(Server):
    """Goes on writing to whoever does not read."""

    async def channel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Channel:
        writer.transport.set_write_buffer_limits(high=1 << 40)
        return await super().channel(reader, writer)


@dataclass(frozen=True)
class Toiling(Server):
    """Does something for each piece that it reads that its loop waits for, if not for long."""

    over: threading.Event = field(default_factory=threading.Event)

    async def channel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Channel:
        channel = await super().channel(reader, writer)
        read_now = channel.read_now

        def read_dearly(n: int) -> tuple[bytes | None, bool]:
            piece, more = read_now(n)
            if piece:
                self.over.wait(DEAR_S)
            return piece, more

        channel.read_now = read_dearly  # type: ignore[method-assign]
        return channel


@asynccontextmanager
async def wearing_out(
    world: World,
    *,
    kind: type[Server] = Server,
    serving: type[Served] = Served,
    beyond_s: float = 0.5,
    without: Sequence[Change] = (),
) -> AsyncIterator[Target]:
    """A server of that kind, while these values stand in the place of the bounds that are there."""
    as_it_is = await asyncio.to_thread(
        lambda: server_of(world, world.holder("server", Profile.SERVER))
    )
    server = kind(as_it_is.holder, as_it_is.context, as_it_is.admit)
    listening: Future[Address] = Future()
    stop = threading.Event()

    async def serve() -> None:
        async with server.serving(serving) as served:
            listening.set_result(served.address)
            await asyncio.to_thread(stop.wait)

    with ExitStack() as changed:
        # However many others this machine is busy with, the attack comes about.
        changed.enter_context(
            patch.multiple(exhaustion, _BEGINS_WITHIN_S=50.0, _BEYOND_S=beyond_s, _STRETCHES=1)
        )
        for module, name, value in without:
            changed.enter_context(patch.object(module, name, value))
        running = asyncio.create_task(asyncio.to_thread(asyncio.run, serve(), debug=False))
        try:
            address = await asyncio.wrap_future(listening)
            yield await asyncio.to_thread(target_of, world, address)
        finally:
            stop.set()
            if isinstance(server, Toiling):
                server.over.set()
            await running


Change = tuple[ModuleType, str, object]

LINGERING: Sequence[Change] = (
    (closing, "LINGER_S", FOR_EVER_S),
    (closing, "LINGER_BYTES", 1 << 40),
)
ALL_AT_ONCE: Sequence[Change] = (
    (receiving, "_READS_AT_A_STRETCH", 1 << 60),
    (receiving, "_FRAMES_AT_A_STRETCH", 1 << 60),
)
ANY_LENGTH: Sequence[Change] = (
    (shape, "MAX_PAYLOAD", 1 << 31),
    (shape, "_shape_of", {**shape.SHAPES, FrameType.DATA << 8: shape.Shape(0, 1 << 31)}.get),
)

WITHOUT_DEFENCE: Mapping[str, Callable[[World], AbstractAsyncContextManager[Target]]] = {
    "slow handshakes": partial(wearing_out, kind=Patient),
    "handshakes opened and left": partial(wearing_out, kind=Patient),
    "alerts never read": partial(wearing_out, kind=Patient, without=LINGERING),
    "flood of tiny frames": partial(wearing_out, kind=Toiling, without=ALL_AT_ONCE),
    # These two are over as soon as the memory has grown enough.
    "oversized lengths": partial(wearing_out, without=ANY_LENGTH, beyond_s=30.0),
    "windows that never open": partial(wearing_out, kind=Heedless, serving=Lavish, beyond_s=30.0),
}
