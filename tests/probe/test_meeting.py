"""The honest connection before any attack: who is there, and that it serves at all."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

import asynctls
from asynctls.config import Address
from asynctls.errors import ProbeError
from asynctls.probe import meeting
from asynctls.probe.meeting import meet
from asynctls.testing import CA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asynctls.enrolment import Identity

URI = "urn:example:server"


@pytest.fixture
def server(asynctls_ca: CA) -> Identity:
    return asynctls_ca.identity("server", URI)


@pytest.fixture
def client(asynctls_ca: CA) -> Identity:
    return asynctls_ca.identity("client")


async def wait_for_a_receipt(session: asynctls.Session) -> None:
    await session.send(b"hello", receipt=True)


@pytest.fixture
async def address(server: Identity) -> AsyncIterator[Address]:
    """Whose app does not close before it has its receipt."""
    async with asynctls.serving(
        wait_for_a_receipt, "127.0.0.1:0", identity=server, allow=["client"]
    ) as listening:
        yield listening


@pytest.mark.parametrize("server_name", [None, "server", URI])
async def test_a_server_with_sessions_is_found_by_any_name(
    address: Address, server: Identity, client: Identity, server_name: str | None
) -> None:
    target = await meet(address, client, server_name=server_name)
    assert target.server.certificate == server.certificate
    assert target.sessions
    assert (target.address, target.identity, target.server_name) == (address, client, server_name)


async def test_a_tunnels_end_has_none(server: Identity, client: Identity) -> None:
    async def echo(stream: asynctls.PeerStream) -> None:
        stream.write(await stream.read())

    async with asynctls.serving_streams(
        echo, "127.0.0.1:0", identity=server, allow=["client"]
    ) as address:
        assert not (await meet(address, client)).sessions


@pytest.mark.parametrize("server_name", ["other", "urn:example:other", "127.0.0.1"])
async def test_a_server_of_another_name_than_was_said_is_not_probed(
    address: Address, client: Identity, server_name: str
) -> None:
    with pytest.raises(ProbeError, match=f"(?s)honest client.*expected to be {server_name}"):
        await meet(address, client, server_name=server_name)


async def test_a_server_that_does_not_let_us_in_is_not_probed(
    address: Address, asynctls_ca: CA
) -> None:
    with pytest.raises(ProbeError, match=r"honest client.*allow list"):
        await meet(address, asynctls_ca.identity("somebody"))


async def test_a_server_of_another_ca_is_not_probed(address: Address, tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="certified by the CA of our identity"):
        await meet(address, CA(tmp_path).identity("client"))


async def test_where_nobody_listens_nothing_is_probed(client: Identity) -> None:
    with pytest.raises(ProbeError, match="cannot be reached"):
        await meet(Address("127.0.0.1", 1), client)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses at once")
async def test_an_address_that_swallows_packets_is_given_up_in_time(
    client: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meeting, "_PATIENCE_S", 0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        address = Address(*deaf.getsockname())
        # Whoever comes after this one is not answered: the queue is full.
        with (
            socket.create_connection(deaf.getsockname()),
            pytest.raises(ProbeError, match=f"the server at {address} did not answer within 0.3 s"),
        ):
            await meet(address, client)
