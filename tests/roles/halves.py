"""Both halves of a tunnel in this process, around whatever program a test has."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

from asynctls.client.tunnel import Tunnel, TunnelService
from asynctls.config import Address, AppChoice, ClientConfig, Endpoint, ServerConfig
from asynctls.enrolment import Keeper
from asynctls.runtime import Connections, listen
from asynctls.runtime.observing import Observer
from asynctls.server.running import serving_alone
from asynctls.server.services import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asynctls.config.tables import LiveAfterExpiryName
    from asynctls.enrolment import Identity

__all__ = ["Halves", "Way", "halves"]

Way: TypeAlias = Literal["plain", "session"]

ANY_PORT = "127.0.0.1:0"
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Halves:
    """A tunnel that runs: where programs find it, and what its two ends know."""

    where: str
    server: Keeper
    client: Keeper


@asynccontextmanager
async def halves(
    server: Identity,
    client: Identity,
    target: str,
    *,
    way: Way,
    client_way: Way | None = None,
    live_after_expiry: LiveAfterExpiryName = "end",
    reach_timeout: timedelta = timedelta(seconds=10),
) -> AsyncIterator[Halves]:
    """A tunnel to ``target``, with sessions or without; the client's half can have its own way."""
    at_server = ServerConfig(
        listen=Address.parse(ANY_PORT),
        allow=("client",),
        app=AppChoice.parse(f"forward:{target}"),
        session=way == "session",
        live_after_expiry=live_after_expiry,
        reach_timeout=reach_timeout,
    )
    service = await Service.of(at_server)
    async with (
        Keeper(server, crl_interval=HOUR) as keeper,
        serving_alone(service, keeper, drain_s=0) as address,
        Keeper(client, crl_interval=HOUR) as other,
        Connections() as connections,
    ):
        at_client = ClientConfig(
            connect=address,
            server_name="server",
            session=(client_way or way) == "session",
            live_after_expiry=live_after_expiry,
        )
        tunnel = Tunnel(
            TunnelService.of(at_client, Endpoint.parse(ANY_PORT)), keeper=other, observer=Observer()
        )
        accept = connections.served_by(tunnel.serve, places=tunnel.places)
        async with listen(Address.parse(ANY_PORT), accept, role="client") as listener:
            yield Halves(str(listener.address), keeper, other)
