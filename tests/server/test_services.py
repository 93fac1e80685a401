"""What a config says of connections is what its services hold them to."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from asynctls.admission import AllowList, LiveAfterExpiry, allow_list
from asynctls.client.tunnel import tunnels_of
from asynctls.config import AppChoice, ClientConfig, Endpoint, ServerConfig
from asynctls.server import serving
from asynctls.server.services import Service

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


async def test_each_setting_of_a_server_reaches_its_service() -> None:
    service = await Service.of(
        ServerConfig(
            allow=("client",),
            app=AppChoice.parse("forward:127.0.0.1:1"),
            handshakes=7,
            handshake_timeout=timedelta(seconds=3),
            keepalive=timedelta(seconds=20),
            live_after_expiry="keep",
            max_connections=9,
            max_connections_per_address=5,
        )
    )
    terms = service.terms
    assert (terms.handshakes, terms.handshake_timeout_s, terms.keepalive_s) == (7, 3.0, 20.0)
    assert terms.live_after_expiry is LiveAfterExpiry.KEEP
    assert (service.max_connections, service.max_connections_per_address) == (9, 5)
    # One from the peer, one to the program.
    assert service.sockets == 2


async def test_an_allow_list_which_may_be_long_is_read_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = []

    def read(texts: Sequence[str]) -> AllowList:
        threads.append(threading.current_thread())
        return allow_list(texts)

    monkeypatch.setattr(serving, "allow_list", read)
    await Service.of(ServerConfig(allow=("client",), app=AppChoice.parse("echo")))
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


def test_each_setting_of_a_client_reaches_its_tunnel() -> None:
    (tunnel,) = tunnels_of(
        ClientConfig(
            listen=Endpoint.parse("127.0.0.1:0"),
            server_name="server",
            connect_timeout=timedelta(seconds=3),
            keepalive=timedelta(seconds=20),
            live_after_expiry="keep",
            max_connections=9,
        )
    )
    assert (tunnel.timeout_s, tunnel.keepalive_s, tunnel.max_connections) == (3.0, 20.0, 9)
    assert (tunnel.server_name, tunnel.limits) == ("server", None)
    assert tunnel.live_after_expiry is LiveAfterExpiry.KEEP
