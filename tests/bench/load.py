"""The load: connections of a client with its certificate, on a core of its own.

    python -m tests.bench.load STATE

Each line of standard input is a job in JSON, each line of standard output its result. Connections
are bare OpenSSL by way of `ssl`, with a thread for each handshake that is to be under way at once,
so that it costs less than the servers; so are sessions, see `speaking`. What is measured is the
servers' processor time.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from asynctls.client.connecting import open_session
from asynctls.config import Address
from asynctls.enrolment import Identity, Keeper
from asynctls.mac import Secret
from asynctls.session import Limits
from asynctls.session.channel import ALPN
from asynctls.session.sealer import Sealer
from asynctls.session.states import Role
from tests.bench.jobs import work_off
from tests.bench.speaking import Echoed, Paced, Speaker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

AT_ONCE = 4
PATIENCE_S = 20.0


class Load:
    """A client's identity, and what it can do."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._held: list[socket.socket] = []
        self._talking = ExitStack()
        self._ends: list[Echoed | Speaker] = []
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

    def talk(self, *, port: int, kind: str, at_once: int = 1) -> dict[str, float]:
        """So many connections for `round_trips`, instead of those before; a message on each.

        A kind is "plain", "tls" or "session". What a handshake costs is not a message's.
        """
        self._talking.close()
        makers: dict[str, Callable[[int], AbstractContextManager[Echoed | Speaker]]] = {
            "plain": self._bare,
            "tls": self._paced,
            "session": self._speaking,
        }
        made = (makers[kind](port) for _ in range(at_once))
        self._ends = [self._talking.enter_context(each) for each in made]
        return self.round_trips(count=at_once, size=1)

    def round_trips(self, *, count: int, size: int) -> dict[str, float]:
        """So many messages there and back: one under way on each connection."""
        message, ends = bytes(size), self._ends
        began = time.perf_counter()
        for _ in range(count // len(ends)):
            for each in ends:
                each.send(message)
            for each in ends:
                each.receive()
        return {
            "count": count // len(ends) * len(ends),
            "seconds": time.perf_counter() - began,
        }

    def bulk(self, *, port: int, octets: int, plain: bool) -> dict[str, float]:
        """So many bytes there and back, 256 KiB under way."""
        piece = bytes(1 << 18)
        with (self._bare if plain else self._secured)(port) as end:
            began = time.perf_counter()
            for _ in range(octets >> 18):
                end.send(piece)
                end.receive()
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

    def session_bulk(self, *, port: int, octets: int) -> dict[str, float]:
        """So many bytes there and back in messages of 64 KiB, four under way."""
        message = bytes(1 << 16)
        with self._speaking(port) as session:
            began = time.perf_counter()
            for _ in range(octets >> 18):
                for _ in range(4):
                    session.send(message)
                for _ in range(4):
                    session.receive()
            return {"count": octets >> 18 << 18, "seconds": time.perf_counter() - began}

    def session_flooded(self, *, port: int, count: int, size: int) -> dict[str, float]:
        """Takes so many messages that the server sends, and opens none: that takes longer."""
        with self._speaking(port) as session:
            began = time.perf_counter()
            session.send(f"{count} {size}".encode())
            session.skip(count * len(Sealer(Role.SERVER, Secret.random()).data(bytes(size))))
            return {"count": count, "seconds": time.perf_counter() - began}

    def session_flood(self, *, port: int, count: int, size: int) -> dict[str, float]:
        """Sends so many messages, sealed before, all of which the server says that it took."""
        with self._speaking(port) as session:
            pieces = session.sealed(bytes(size), count)
            began = time.perf_counter()
            session.write(pieces)
            session.finish_sending()
            if int(session.receive()) != count:
                raise RuntimeError("the server has not taken all")
            return {"count": count, "seconds": time.perf_counter() - began}

    # Connections, bare OpenSSL

    def _connected(self, port: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    @contextmanager
    def _bare(self, port: int) -> Iterator[Echoed]:
        with self._connected(port) as connection:
            yield Echoed(connection)

    @contextmanager
    def _secured(self, port: int) -> Iterator[Echoed]:
        with self._context().wrap_socket(self._connected(port)) as stream:
            yield Echoed(stream)

    @contextmanager
    def _paced(self, port: int) -> Iterator[Paced]:
        with self._context().wrap_socket(self._connected(port)) as stream:
            yield Paced(stream)

    @contextmanager
    def _speaking(self, port: int) -> Iterator[Speaker]:
        context = self._context()
        context.set_alpn_protocols([ALPN])
        with context.wrap_socket(self._connected(port)) as stream:
            yield Speaker(stream, Identity.load(self._state).certificate)


if __name__ == "__main__":
    work_off(Load(Path(sys.argv[1])))
