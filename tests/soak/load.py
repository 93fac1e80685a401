"""The mixed load of a soak, and what is known of every message in it.

Members join, have sessions with receipts both ways, and leave; others come through the tunnel; an
outcast joins, is revoked while it is connected, and tries again. A process that follows is fed.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count, cycle
from typing import TYPE_CHECKING

import asynctls as library
from asynctls.client.connecting import open_session
from asynctls.config import Address
from asynctls.enrolment import Keeper
from asynctls.errors import AsynctlsError, ErrorCode, RefusedByPeerError, SessionRefusedError
from asynctls.session import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from asynctls.session import Session
    from tests.soak.fleet import Fleet

__all__ = ["Load", "echoing"]

HOUR = timedelta(hours=1)
# From a word to a message of several frames.
SIZES = (16, 300, 4_000, 70_000)
KINDS = ("enrolments", "sessions", "messages", "tunnelled", "revocations", "put out")
MEMBERS = 2
TALKS = 12
REVOKE_EVERY_S = 3.0
# Slower than a busy machine takes them: what waits at the end has to be waited for.
LINE_EVERY_S = 0.1
PATIENCE_S = 60.0
CARRIED = os.urandom(40_000)


@asynccontextmanager
async def echoing() -> AsyncIterator[Address]:
    """A program that sends back what it gets: what a tunnel leads to."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A tunnel's end that is cut off resets the connection.
        with suppress(ConnectionError):
            while received := await reader.read(65536):
                writer.write(received)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        yield Address(*server.sockets[0].getsockname()[:2])


@dataclass
class Load:
    """What is done to a fleet, again and again, and what became of it.

    Attributes:
        pause_s: from one session, line or connection to the next.
        with_receipt: the names of the messages whose receipt came.
        received: how often each answer came.
        lines: what the client that follows was given.
        done: how often each kind of thing was done.
        cut: why sessions ended otherwise than in order.
    """

    fleet: Fleet
    pause_s: float
    with_receipt: set[bytes] = field(default_factory=set)
    received: Counter[bytes] = field(default_factory=Counter)
    lines: set[bytes] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    _numbers: count[int] = field(default_factory=count)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def prepare(self) -> None:
        """One token for all members, one for all outcasts."""
        self._member = (await self.fleet.token("member")).format()
        self._outcast = (await self.fleet.token("outcast")).format()

    async def run(self, seconds: float) -> None:
        """All of it for so long, and each at least once; what has begun is ended in order."""
        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(MEMBERS):
                tasks.create_task(self._members(over))
            tasks.create_task(self._outcasts(over))
            tasks.create_task(self._tunnelled(over))
            tasks.create_task(self._lines(over))
            await asyncio.sleep(seconds)
            async with asyncio.timeout(PATIENCE_S):
                while not all(self.done[what] for what in KINDS):
                    self._news.clear()
                    await self._news.wait()
            over.set()

    def _did(self, what: str, times: int = 1) -> None:
        self.done[what] += times
        self._news.set()

    async def _members(self, over: asyncio.Event) -> None:
        sizes = cycle(SIZES)
        while not over.is_set():
            async with self._joined(self._member) as keeper:
                for talk in range(TALKS):
                    if over.is_set():
                        break
                    # Every other one is a short connection, of one small message.
                    await self._talk(keeper, [next(sizes) for _ in range(8)] if talk % 2 else [16])
                    await asyncio.sleep(self.pause_s)
                self._did("renewals of members", keeper.renewals[0])

    async def _talk(self, keeper: Keeper, sizes: list[int]) -> None:
        """A session: so many messages, and the answers to them meanwhile."""
        try:
            async with _session(keeper, self.fleet) as session, asyncio.TaskGroup() as tasks:
                tasks.create_task(self._take(session, len(sizes)))
                for size in sizes:
                    name = b"m%d" % next(self._numbers)
                    await session.send(name + b" " + bytes(size), receipt=True)
                    self.with_receipt.add(name)
        except* AsynctlsError as group:
            self.cut[type(group.exceptions[0]).__name__] += 1
        else:
            self._did("sessions")
            self._did("messages", len(sizes))

    async def _take(self, session: Session, answers: int) -> None:
        for _ in range(answers):
            answer = await session.receive()
            self.received[answer.partition(b" ")[0]] += 1

    async def _outcasts(self, over: asyncio.Event) -> None:
        while not over.is_set():
            async with self._joined(self._outcast) as keeper:
                if await self._put_out(keeper):
                    await self._try_again(keeper)
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), REVOKE_EVERY_S)

    async def _put_out(self, keeper: Keeper) -> bool:
        """Whether a session ended because its certificate was revoked meanwhile."""
        try:
            async with _session(keeper, self.fleet) as session:
                await self.fleet.authority.revoke(keeper.identity.serial, reason="keyCompromise")
                self._did("revocations")
                await session.receive()
        except SessionRefusedError as error:
            if error.error_code == ErrorCode.CERTIFICATE_REVOKED:
                self._did("put out")
                return True
            self.cut[f"SessionRefusedError {error.error_code}"] += 1
        except AsynctlsError as error:
            self.cut[type(error).__name__] += 1
        return False

    async def _try_again(self, keeper: Keeper) -> None:
        try:
            async with _session(keeper, self.fleet):
                self._did("let in though revoked")
        except RefusedByPeerError:
            self._did("refused")
        except AsynctlsError as error:
            self.cut[type(error).__name__] += 1

    async def _tunnelled(self, over: asyncio.Event) -> None:
        while not over.is_set():
            try:
                carried = await self._carried()
            except OSError as error:
                self.cut[f"tunnel: {type(error).__name__}"] += 1
            else:
                assert carried == CARRIED
                self._did("tunnelled")
            await asyncio.sleep(self.pause_s)

    async def _carried(self) -> bytes:
        where = Address.parse(self.fleet.tunnel_at)
        reader, writer = await asyncio.open_connection(where.host, where.port)
        try:
            writer.write(CARRIED)
            writer.write_eof()
            return await reader.read(-1)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _lines(self, over: asyncio.Event) -> None:
        while not over.is_set():
            name = b"l%d" % next(self._numbers)
            self.lines.add(name)
            await self.fleet.client.give(name + b"\n")
            await asyncio.sleep(LINE_EVERY_S)

    @asynccontextmanager
    async def _joined(self, token: str) -> AsyncIterator[Keeper]:
        """An identity in memory alone, kept for as long."""
        identity = await library.join(token, key_type="ecdsa-p256")
        self._did("enrolments")
        async with Keeper(identity, crl_interval=HOUR) as keeper:
            yield keeper


def _session(keeper: Keeper, fleet: Fleet) -> AbstractAsyncContextManager[Session]:
    return open_session(
        keeper,
        Address.parse(fleet.server_at),
        server_name="server",
        timeout_s=10,
        limits=Limits(),
    )
