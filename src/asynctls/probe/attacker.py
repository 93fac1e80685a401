"""Somebody with many connections to one server, from one address of their own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asynctls.admission import Peer
from asynctls.errors import AsynctlsError, HandshakeError
from asynctls.probe.attack import PATIENCE_S
from asynctls.probe.insider import Insider
from asynctls.session import Limits, Session
from asynctls.tls import Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from asynctls.probe.attack import Target
    from asynctls.probe.clients import Client

__all__ = ["Attacker"]

_PAUSE_S = 0.05
_LIMITS = Limits(handshake_timeout_s=PATIENCE_S, close_timeout_s=0.1)

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Attacker:
    """Opens connections, and leaves none behind.

    Args:
        target: the server.
        client: one with our own certificate.
        host: the server's IP address.
        local_address: from where; None: as the system has it.

    Attributes:
        target: as given.
        begun: is set once the server has something to bear.
        got_through: what the server did that it should not have, in words.
        due: what the server is to refuse, in words.
        refused: of these, what it has refused, and by what.
    """

    def __init__(
        self, target: Target, client: Client, *, host: str, local_address: str | None
    ) -> None:
        self.target = target
        self.begun = asyncio.Event()
        self.got_through: set[str] = set()
        self.due: set[str] = set()
        self.refused: dict[str, str] = {}
        self._client = client
        self._where = (host, target.address.port)
        self._local_address = local_address

    async def keep(self, number: int, attack: Callable[[], Awaitable[None]]) -> None:
        """Has so many attacks under way, each begun anew once it has ended; until cancelled."""

        async def again_and_again() -> None:
            while True:
                with contextlib.suppress(AsynctlsError, OSError):
                    await attack()
                await asyncio.sleep(_PAUSE_S)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(number):
                tasks.create_task(again_and_again())

    @property
    def unshown(self) -> set[str]:
        """What the server has not refused so far: perhaps it never had it."""
        return self.due - self.refused.keys()

    def not_refused(self, what: str) -> None:
        """It was not, within `PATIENCE_S`; once it was, a server that is late is only busy."""
        if what in self.unshown:
            self.got_through.add(f"it had not refused {what} after {PATIENCE_S:g} s")

    async def cut_off(self, what: str) -> None:
        """The server did not say why it ended the connection in which it got ``what``.

        It may do so to all who come from here, whatever they say: so it has refused this only if it
        serves an honest connection from the same address.
        """
        if what in self.unshown:
            with contextlib.suppress(AsynctlsError, OSError):
                async with self.connection() as connection:
                    stream = await self.stream(connection)
                    if self.target.sessions:
                        certificate = self.target.identity.certificate
                        await Insider(stream, certificate=certificate).open()
                self.refused[what] = "the end of the connection"

    @asynccontextmanager
    async def connection(self, *, window_bytes: int | None = None) -> AsyncIterator[Connection]:
        """A TCP connection, cut off at the end.

        Args:
            window_bytes: how much the kernel keeps for us to read, about; None: as usual.
        """
        family = socket.AF_INET6 if ":" in self._where[0] else socket.AF_INET
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.ExitStack() as unless_connected:
                ours = unless_connected.enter_context(socket.socket(family, socket.SOCK_STREAM))
                ours.setblocking(False)  # noqa: FBT003 - the socket module has no other way
                if window_bytes is not None:
                    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
                if self._local_address is not None:
                    ours.bind((self._local_address, 0))
                await asyncio.get_running_loop().sock_connect(ours, self._where)
                reader, writer = await asyncio.open_connection(sock=ours)
                unless_connected.pop_all()
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def stream(self, connection: Connection) -> Stream:
        """TLS over it, as ourselves."""
        return await Stream.connect(
            *connection,
            self._client.context,
            server_hostname=self._client.host,
            admit=self._client.admit,
            timeout_s=PATIENCE_S,
        )

    def session(self, stream: Stream) -> Session:
        """A session over that, to be entered.

        Raises:
            HandshakeError: the server has shown no certificate.
        """
        if stream.peer_certificate is None:
            raise HandshakeError("no session with a server that shows no certificate")
        return Session.connect(
            stream,
            own_certificate=self.target.identity.certificate,
            # The server may have been renewed since the target was met.
            peer=Peer.of(stream.peer_certificate),
            limits=_LIMITS,
        )

    def hello(self) -> bytes:
        """What we would say first: a good ClientHello, in one record."""
        outgoing = ssl.MemoryBIO()
        half = self._client.context.wrap_bio(ssl.MemoryBIO(), outgoing)
        with contextlib.suppress(ssl.SSLWantReadError):
            half.do_handshake()
        return outgoing.read()
