"""The load: connections of a client with its certificate, on a core of its own.

    python -m tests.bench.load STATE

Each line of standard input is a job in JSON, each line of standard output its result. Connections
are bare OpenSSL by way of `ssl`, with a thread for each that is to be under way at once, so that it
costs less than the servers; sessions are our own client's. What is measured is the servers'
processor time, which hangs on no load generator's speed.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

import asynctls
from asynctls.client.connecting import open_session
from asynctls.config import Address
from asynctls.enrolment import Identity, Keeper
from asynctls.session import Limits
from tests.bench.jobs import work_off

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

AT_ONCE = 4
PATIENCE_S = 20.0


class Load:
    """A client's identity, and what it can do."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._held: list[socket.socket] = []
        self._threads = ThreadPoolExecutor(AT_ONCE)
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._sessions = AsyncExitStack()
        self._keeper: Keeper | None = None

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE+AESGCM")
        context.load_cert_chain(self._state / "cert.pem", self._state / "key.pem")
        context.load_verify_locations(self._state / "ca.pem")
        context.check_hostname = False
        return context

    def handshakes(
        self, *, port: int, count: int, resume: bool, tickets: bool = True
    ) -> dict[str, float]:
        """So many connections: handshake, a byte from the server, close.

        Without tickets a client takes none (RFC 5077), as some do.
        """
        context = self._context()
        if not tickets:
            context.options |= ssl.OP_NO_TICKET
        session = self._greeting(context, port, None) if resume else None

        def several(number: int) -> None:
            for _ in range(number):
                made = self._greeting(context, port, session)
                if resume and made is None:
                    raise RuntimeError("a session was not resumed")

        began = time.perf_counter()
        list(self._threads.map(several, [count // AT_ONCE] * AT_ONCE))
        return {"count": count // AT_ONCE * AT_ONCE, "seconds": time.perf_counter() - began}

    def _greeting(
        self, context: ssl.SSLContext, port: int, session: ssl.SSLSession | None
    ) -> ssl.SSLSession | None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with context.wrap_socket(connection, session=session) as stream:
                if stream.recv(1) != b"!":
                    raise RuntimeError("no greeting")
                if session is not None and not stream.session_reused:
                    return None
                made = stream.session
                # Both ends say that they end: a reset would cost the servers an error each.
                while stream.recv(16):
                    pass
                stream.unwrap().close()
        return made

    def plain_greetings(self, *, port: int, count: int) -> dict[str, float]:
        """So many plain connections through a pair of tunnel halves, one after another."""
        began = time.perf_counter()
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                if connection.recv(1) != b"!":
                    raise RuntimeError("no greeting")
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(16):
                    pass
        return {"count": count, "seconds": time.perf_counter() - began}

    def reach(self, *, port: int) -> dict[str, float]:
        """Waits until what a pair of tunnel halves leads to can be reached."""
        began = time.perf_counter()
        while time.perf_counter() - began < PATIENCE_S:
            with (
                suppress(OSError),
                socket.create_connection(("127.0.0.1", port), timeout=1) as connection,
            ):
                connection.sendall(b"!")
                if connection.recv(1):
                    return {"count": 1, "seconds": time.perf_counter() - began}
            # None of the peers says when it has come to listen.
            time.sleep(0.05)
        raise RuntimeError(f"nothing answers behind port {port}")

    def round_trips(self, *, port: int, count: int, size: int, plain: bool) -> dict[str, float]:
        """So many messages there and back, one after another on one connection."""
        message = bytes(size)
        with self._connected(port, plain=plain) as stream:
            self._there_and_back(stream, message)
            began = time.perf_counter()
            for _ in range(count):
                self._there_and_back(stream, message)
            return {"count": count, "seconds": time.perf_counter() - began}

    def _there_and_back(self, stream: socket.socket, message: bytes) -> None:
        stream.sendall(message)
        left = len(message)
        while left:
            received = len(stream.recv(left))
            if not received:
                raise RuntimeError("the connection ended before all was back")
            left -= received

    def bulk(self, *, port: int, octets: int, plain: bool) -> dict[str, float]:
        """So many bytes there and back, 256 KiB under way."""
        piece = bytes(1 << 18)
        with self._connected(port, plain=plain) as stream:
            began = time.perf_counter()
            for _ in range(octets >> 18):
                self._there_and_back(stream, piece)
            return {"count": octets >> 18 << 18, "seconds": time.perf_counter() - began}

    def hold(self, *, port: int, count: int) -> dict[str, float]:
        """So many connections that stay and say nothing, besides those that are held already."""
        context = self._context()
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port))
            self._held.append(context.wrap_socket(connection))
        return {"count": len(self._held)}

    def release(self) -> dict[str, float]:
        """Closes those that are held."""
        for each in self._held:
            each.close()
        self._held.clear()
        self._runner.run(self._sessions.aclose())
        self._keeper = None
        return {"count": 0}

    # Sessions

    def _session(self, port: int) -> AbstractAsyncContextManager[asynctls.Session]:
        return asynctls.connect(f"127.0.0.1:{port}", server_name="server", identity=self._state)

    def hold_sessions(self, *, port: int, count: int) -> dict[str, float]:
        """As `hold`, with sessions; each by a full handshake.

        All have one keeper: thousands that each ask the TTP every minute would be a load on it.
        """

        async def hold() -> None:
            if self._keeper is None:
                keeper = Keeper(await Identity.of(self._state), crl_interval=timedelta(hours=1))
                self._keeper = await self._sessions.enter_async_context(keeper)
            for _ in range(count):
                self._keeper.retire_contexts()
                session = open_session(
                    self._keeper,
                    Address("127.0.0.1", port),
                    server_name="server",
                    timeout_s=PATIENCE_S,
                    limits=Limits(),
                )
                await self._sessions.enter_async_context(session)

        self._runner.run(hold())
        return {"count": count}

    def session_round_trips(self, *, port: int, count: int, size: int) -> dict[str, float]:
        """So many messages there and back, one after another."""

        async def run() -> float:
            message = bytes(size)
            async with self._session(port) as session:
                await session.send(message)
                await session.receive()
                began = time.perf_counter()
                for _ in range(count):
                    await session.send(message)
                    await session.receive()
                return time.perf_counter() - began

        return {"count": count, "seconds": self._runner.run(run())}

    def session_bulk(self, *, port: int, octets: int) -> dict[str, float]:
        """So many bytes there and back in messages of 64 KiB, four under way."""

        async def run() -> float:
            message = bytes(1 << 16)
            async with self._session(port) as session:
                began = time.perf_counter()
                for _ in range(octets >> 18):
                    for _ in range(4):
                        await session.send(message)
                    for _ in range(4):
                        await session.receive()
                return time.perf_counter() - began

        return {"count": octets >> 18 << 18, "seconds": self._runner.run(run())}

    def session_flooded(self, *, port: int, count: int, size: int) -> dict[str, float]:
        """Takes so many messages that the server sends."""

        async def run() -> float:
            async with self._session(port) as session:
                began = time.perf_counter()
                await session.send(f"{count} {size}".encode())
                for _ in range(count):
                    await session.receive()
                return time.perf_counter() - began

        return {"count": count, "seconds": self._runner.run(run())}

    def session_flood(self, *, port: int, count: int, size: int) -> dict[str, float]:
        """Sends so many messages, all of which the server says that it took."""

        async def run() -> float:
            message = bytes(size)
            async with self._session(port) as session:
                began = time.perf_counter()
                for _ in range(count):
                    await session.send(message)
                await session.finish_sending()
                if int(await session.receive()) != count:
                    raise RuntimeError("the server has not taken all")
                return time.perf_counter() - began

        return {"count": count, "seconds": self._runner.run(run())}

    def _connected(self, port: int, *, plain: bool) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection if plain else self._context().wrap_socket(connection)


if __name__ == "__main__":
    work_off(Load(Path(sys.argv[1])))
