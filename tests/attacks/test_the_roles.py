"""The three attacks against the roles themselves: `asynctls.connect` and `asynctls.serve`.

The other files try each defence by itself, and take it away. Here everything is in place, as a user
has it, and what counts is what both ends say: the client by its exception, the server in its log.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

import asynctls
from asynctls.alerts import Alert
from asynctls.config import Address
from asynctls.errors import (
    BindingMismatchError,
    HandshakeError,
    PeerRefusedError,
    RefusedByPeerError,
)
from asynctls.pki.profiles import Profile
from asynctls.probe.hellos import EXTENDED_MASTER_SECRET, Hello, rewriting
from asynctls.probe.relays import forwarding, play
from tests.attacks.between import forwarding_frames, speaking_for_both
from tests.attacks.openssl import s_client
from tests.attacks.victims import LIMIT_S, OTP, PIN, Client, client_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping
    from typing import Any

    from tests.attacks.world import Holder, World
    from tests.conftest import LogWatch, Program


class ServerRole:
    """A running `asynctls.serve`: where, and what its app was told."""

    def __init__(self) -> None:
        self.address = Address("127.0.0.1", 0)
        self.told: list[tuple[str, bytes]] = []

    async def app(self, session: asynctls.Session) -> None:
        async for message in session:
            self.told.append((session.peer.name, message))
            await session.send(OTP)


@pytest.fixture
async def server_role(world: World, logged: LogWatch) -> AsyncIterator[ServerRole]:
    """Serves the client alone."""
    role = ServerRole()
    identity = await asyncio.to_thread(world.identity, "server", Profile.SERVER)
    serving = asyncio.create_task(
        asynctls.serve(role.app, "127.0.0.1:0", identity=identity, allow=["client"])
    )
    try:
        listening = await happened(logged, "listening")
        role.address = Address.parse(listening["address"])
        yield role
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def happened(logged: LogWatch, event: str) -> MutableMapping[str, Any]:
    """The latest log entry of that name; waits for the first."""
    async with asyncio.timeout(LIMIT_S):
        return await logged.until(event)


@pytest.fixture
def client_role(world: World) -> asynctls.Identity:
    return world.identity("client", Profile.CLIENT)


async def talk(identity: asynctls.Identity, server: Address) -> bytes:
    async with (
        asyncio.timeout(LIMIT_S),
        asynctls.connect(str(server), server_name="server", identity=identity) as session,
    ):
        await session.send(PIN, receipt=True)
        return await session.receive()


async def test_they_talk_through_a_relay_that_only_forwards(
    server_role: ServerRole, client_role: asynctls.Identity
) -> None:
    async with forwarding(server_role.address) as relay:
        assert await talk(client_role, relay.address) == OTP
    assert server_role.told == [("client", PIN)]
    assert PIN not in relay.recording


@pytest.mark.parametrize(
    ("whose", "alert"),
    [("self-signed", Alert.UNKNOWN_CA), ("mallory's", Alert.BAD_CERTIFICATE)],
)
async def test_the_client_says_whom_it_met_in_the_servers_place(
    world: World,
    server_role: ServerRole,
    client_role: asynctls.Identity,
    mallory: Holder,
    whose: str,
    alert: Alert,
) -> None:
    shown = world.self_signed("server") if whose == "self-signed" else mallory
    async with speaking_for_both(
        server_role.address,
        world=world,
        towards_client=shown,
        towards_server=mallory,
    ) as relay:
        with pytest.raises(PeerRefusedError, match="expected to be server") as refused:
            await talk(client_role, relay.address)
    assert refused.value.alert is alert
    assert isinstance(relay.refused_by_client, RefusedByPeerError)
    assert not relay.read


async def test_the_server_logs_who_came_in_the_clients_place(
    server_role: ServerRole, client: Client, mallory: Holder, world: World, logged: LogWatch
) -> None:
    with pytest.raises(RefusedByPeerError) as told:
        await client_of(world, mallory).stream(server_role.address)
    assert told.value.alert is Alert.ACCESS_DENIED
    refused = await happened(logged, "refused")
    assert refused["alert"] == Alert.ACCESS_DENIED
    assert refused["peer"].startswith("mallory (serial ")
    assert refused["address"].startswith("127.0.0.1:")
    assert "not on the allow list" in refused["reason"]


async def test_both_say_that_somebody_may_stand_in_between(
    world: World, server_role: ServerRole, client_role: asynctls.Identity, logged: LogWatch
) -> None:
    async with forwarding_frames(
        server_role.address,
        world=world,
        towards_client=world.holder("server", Profile.SERVER),
        towards_server=world.holder("client", Profile.CLIENT),
    ) as relay:
        with pytest.raises(BindingMismatchError, match="neither READY nor ERROR"):
            await talk(client_role, relay.address)
    reasons = [event["reason"] for event in logged.named("binding mismatch")]
    assert any(reason.startswith("KEY's tag does not verify") for reason in reasons)
    assert PIN not in relay.read
    assert server_role.told == []


async def test_the_server_names_a_replay_in_its_log(
    server_role: ServerRole, client: Client, logged: LogWatch
) -> None:
    async with client.inside(server_role.address) as peer:
        frame = peer.seal.data(PIN)
        await peer.send(frame, frame)
        await peer.last_answer()
    ended = await happened(logged, "session ended")
    assert ended["reason"] == "DATA #1 came again: #2 was due"
    assert server_role.told == [("client", PIN)]


async def test_a_recorded_connection_is_refused(
    server_role: ServerRole, client_role: asynctls.Identity, logged: LogWatch
) -> None:
    async with forwarding(server_role.address) as relay:
        await talk(client_role, relay.address)
    await play(b"".join(relay.from_client), server_role.address)
    refused = await happened(logged, "refused")
    assert refused["alert"] == Alert.DECRYPT_ERROR
    assert server_role.told == [("client", PIN)]


@pytest.mark.parametrize("option", ["-tls1", "-tls1_1", "-tls1_3"])
async def test_another_version_is_refused(
    server_role: ServerRole, client: Client, program: Program, logged: LogWatch, option: str
) -> None:
    printed = await s_client(program("openssl"), server_role.address, client.holder, option)
    assert f"SSL alert number {Alert.PROTOCOL_VERSION}" in printed
    refused = await happened(logged, "refused")
    assert refused["alert"] == Alert.PROTOCOL_VERSION
    assert "TLS 1.2 is the one version spoken here" in refused["reason"]


async def test_a_rewritten_hello_ends_the_handshake(
    server_role: ServerRole, client_role: asynctls.Identity, logged: LogWatch
) -> None:
    def rewrite(hello: Hello) -> None:
        del hello.extensions[EXTENDED_MASTER_SECRET]

    async with forwarding(server_role.address, from_client=rewriting(rewrite)) as relay:
        with pytest.raises(HandshakeError):
            await talk(client_role, relay.address)
    refused = await happened(logged, "refused")
    assert refused["alert"] == Alert.DECRYPT_ERROR
    assert server_role.told == []
