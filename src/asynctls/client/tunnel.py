"""The client end of a tunnel: each local connection is carried to the server by its own TLS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from asynctls.client.streams import open_peer_stream
from asynctls.errors import TruncatedError
from asynctls.logger import get_logger
from asynctls.runtime import Connections, Signals, listen, listen_unix, serve_until_stopped
from asynctls.runtime.carrying import carry
from asynctls.tls import PlainStream

if TYPE_CHECKING:
    import asyncio
    from datetime import timedelta

    from asynctls.config import Address, Endpoint
    from asynctls.enrolment.keeper import Keeper
    from asynctls.runtime.observing import Observer
    from asynctls.streams import PeerStream

__all__ = ["Tunnel"]

log = get_logger()

_ROLE = "client"


class Tunnel:
    """Carries local connections to one server.

    Args:
        keeper: our identity and the CRLs; its contexts offer no ALPN.
        connect: the server's address.
        server_name: the name that its certificate must have; None: the host in ``connect``.
        timeout_s: for the TCP connection to the server, and again for the TLS handshake.
        observer: is told of handshakes, and of connections as of sessions.
    """

    def __init__(
        self,
        keeper: Keeper,
        connect: Address,
        *,
        server_name: str | None,
        timeout_s: float,
        observer: Observer,
    ) -> None:
        self._keeper = keeper
        self._connect = connect
        self._server_name = server_name
        self._timeout_s = timeout_s
        self._observer = observer

    async def run(self, listen_on: Endpoint, signals: Signals, *, drain: timedelta) -> None:
        """Listens until it is told to stop; what is under way then may end by itself.

        Args:
            listen_on: a TCP address, or the path of a UNIX socket.
            signals: what ends it.
            drain: how long connections may go on after that.

        Raises:
            ConfigError: it cannot be listened on there.
        """
        async with Connections(self._serve) as connections:
            if isinstance(listen_on.where, Path):
                opened = listen_unix(listen_on.where, connections.accept, role=_ROLE)
                async with opened as unix_listener:
                    await serve_until_stopped(signals, unix_listener, connections, drain=drain)
            else:
                async with listen(listen_on.where, connections.accept, role=_ROLE) as listener:
                    await serve_until_stopped(signals, listener, connections, drain=drain)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        local = PlainStream(reader, writer)
        try:
            async with open_peer_stream(
                self._keeper,
                self._connect,
                server_name=self._server_name,
                timeout_s=self._timeout_s,
                observer=self._observer,
            ) as stream:
                await self._carry(local, stream)
        except TruncatedError:
            # `stream ended` has said so.
            return
        finally:
            # In good order it is closed already; else its program must not take this for an end.
            local.abort()

    async def _carry(self, local: PlainStream, stream: PeerStream) -> None:
        peer, address = str(stream.peer), str(self._connect)
        log.info("stream started", peer=peer, address=address)
        reason = "cut off: the client stops"
        try:
            await carry(stream, local)
            reason = "both ends closed it"
        except TruncatedError as error:
            reason = stream.cut_off_for or str(error)
            raise
        finally:
            log.info(
                "stream ended",
                peer=peer,
                address=address,
                reason=reason,
                sent=stream.tls.sent.total,
                received=stream.tls.received.total,
            )
