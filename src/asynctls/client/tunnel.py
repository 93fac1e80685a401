"""The client end of a tunnel: each local connection is carried to the server by its own TLS."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Self

import msgspec

from asynctls.admission import LiveAfterExpiry
from asynctls.client.connecting import open_session
from asynctls.client.streams import open_peer_stream
from asynctls.errors import TruncatedError
from asynctls.logger import logger_for
from asynctls.runtime.carrying import carry, carry_session
from asynctls.runtime.places import MOST, Places
from asynctls.runtime.session_limits import limits_of
from asynctls.tls import PlainStream

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from asynctls.config import Address, ClientConfig, Endpoint
    from asynctls.enrolment.keeper import Keeper
    from asynctls.runtime.observing import Observer
    from asynctls.session import Limits
    from asynctls.streams import PeerStream

__all__ = ["Tunnel", "TunnelService", "tunnels_of"]


class TunnelService(msgspec.Struct, frozen=True):
    """A tunnel as a value: where local programs find it, and where it leads.

    Attributes:
        setting: the key of ``listen`` within the role's table, for faults.
        listen: a TCP address, or the path of a UNIX socket.
        connect: the server's address.
        server_name: the name that its certificate must have; None: the host in ``connect``.
        timeout_s: for the TCP connection to the server, and again for the TLS handshake.
        keepalive_s: how long the server, or a local program, may be silent to TCP.
        limits: of the session that each connection has; None: plain mutual TLS.
        live_after_expiry: what a certificate's end means for a connection.
        max_connections: at once; None: as many as open files allow.
    """

    setting: str
    listen: Address | Path
    connect: Address
    server_name: str | None
    timeout_s: float
    keepalive_s: float
    limits: Limits | None
    live_after_expiry: LiveAfterExpiry
    max_connections: int | None

    @classmethod
    def of(cls, config: ClientConfig, listen: Endpoint, *, setting: str = "listen") -> Self:
        """The tunnel that a config describes, from ``listen`` on."""
        return cls(
            setting=setting,
            listen=listen.where,
            connect=config.connect,
            server_name=config.server_name,
            timeout_s=config.connect_timeout.total_seconds(),
            keepalive_s=config.keepalive.total_seconds(),
            limits=limits_of(config) if config.session else None,
            live_after_expiry=LiveAfterExpiry(config.live_after_expiry),
            max_connections=config.max_connections,
        )


def tunnels_of(config: ClientConfig) -> tuple[TunnelService, ...]:
    """Every tunnel of a client; none: it has sessions."""
    if config.listen is not None:
        return (TunnelService.of(config, config.listen),)
    return tuple(
        TunnelService.of(tunnel, tunnel.listen, setting=f"tunnel[{number}].listen")
        for number, tunnel in enumerate(config.tunnel, 1)
        if tunnel.listen is not None
    )


class Tunnel:
    """Carries local connections to a server."""

    idle = True
    """Nothing of it is wanted once nobody comes any more."""

    def __init__(self, service: TunnelService, *, keeper: Keeper, observer: Observer) -> None:
        """Carries nothing yet.

        Args:
            service: where to, at first.
            keeper: our identity and the CRLs.
            observer: is told of handshakes, and of connections as of sessions.
        """
        self._service = service
        self._keeper = keeper
        self._observer = observer
        # All of them are this machine's own, mostly by one address.
        self.places = Places(
            service.max_connections, per_address=service.max_connections or MOST, sockets=2
        )

    def take(self, service: TunnelService) -> None:
        """Whoever comes from now on is carried as this one says."""
        self._service = service
        self.places.change(
            service.max_connections, per_address=service.max_connections or MOST, sockets=2
        )

    def go_away(self) -> None:
        """Tells nobody: a plain stream has no word for it."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carries one connection to its end."""
        service = self._service
        local = PlainStream(reader, writer, keepalive_s=service.keepalive_s)
        try:
            if service.limits is None:
                await self._in_plain_tls(local, service)
            else:
                await self._in_a_session(local, service, service.limits)
        except TruncatedError:
            # `session ended` or `stream ended` has said so.
            return
        finally:
            # In good order it is closed already; else its program must not take this for an end.
            local.abort()

    async def _in_a_session(
        self, local: PlainStream, service: TunnelService, limits: Limits
    ) -> None:
        async with open_session(
            self._keeper,
            service.connect,
            server_name=service.server_name,
            timeout_s=service.timeout_s,
            keepalive_s=service.keepalive_s,
            limits=limits,
            live_after_expiry=service.live_after_expiry,
            observer=self._observer,
        ) as session:
            await carry_session(session, local)

    async def _in_plain_tls(self, local: PlainStream, service: TunnelService) -> None:
        async with open_peer_stream(
            self._keeper,
            service.connect,
            server_name=service.server_name,
            timeout_s=service.timeout_s,
            keepalive_s=service.keepalive_s,
            live_after_expiry=service.live_after_expiry,
            observer=self._observer,
        ) as stream:
            await self._carry(local, stream, str(service.connect))

    async def _carry(self, local: PlainStream, stream: PeerStream, address: str) -> None:
        started = logger_for(logging.INFO)
        if started is not None:
            resumed = stream.tls.resumed
            started.info("stream started", peer=str(stream.peer), address=address, resumed=resumed)
        reason = "cut off: the client stops"
        try:
            await carry(stream, local)
            reason = "both ends closed it"
        except TruncatedError as error:
            reason = stream.cut_off_for or str(error)
            raise
        finally:
            ended = logger_for(logging.INFO)
            if ended is not None:
                ended.info(
                    "stream ended",
                    peer=str(stream.peer),
                    address=address,
                    reason=reason,
                    sent=stream.tls.sent.total,
                    received=stream.tls.received.total,
                )
