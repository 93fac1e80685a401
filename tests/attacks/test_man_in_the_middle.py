"""Man in the middle: Mallory stands between client and server, and wants to read their messages.

What stops her depends on the certificates that she has. With one of her own making, or of a CA that
nobody trusts, it is the chain; with one of the same CA for another name, it is the name; with one
that is right in every respect, so that TLS is satisfied on both legs, it is the session's keys,
which are bound to both certificates and to this very TLS connection.

Each attack comes twice: against the victims as they are, and against victims with that one defence
taken away, where the same attack must succeed.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
import structlog.testing

import asynctls.session.session
from asynctls.alerts import Alert
from asynctls.errors import BindingMismatchError, PeerRefusedError, RefusedByPeerError
from asynctls.pki.profiles import Profile
from asynctls.probe.relays import everybody, forwarding
from asynctls.session import ALPN
from asynctls.session.keys import binding
from asynctls.tls import client_context_for_any_host, server_context
from tests.attacks.between import forwarding_frames, speaking_for_both
from tests.attacks.naked import bound_to_nothing
from tests.attacks.victims import OTP, PIN, Client, Server, checked, talk

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.attacks.world import Holder, World


async def test_a_relay_that_only_forwards_is_harmless_and_reads_nothing(
    client: Client, server: Server
) -> None:
    async with server.serving() as served, forwarding(served.address) as relay:
        assert await talk(client, relay.address) == OTP
        assert await served.end() is None
    assert served.told == [("client", PIN)]
    assert relay.recording
    assert PIN not in relay.recording
    assert OTP not in relay.recording


# In the server's place, towards the client


@pytest.fixture
def impostor(
    request: pytest.FixtureRequest, world: World, other_world: World, mallory: Holder
) -> Holder:
    """What Mallory shows a client that expects "server"."""
    match request.param:
        case "self-signed":
            return world.self_signed("server")
        case "of another CA":
            return other_world.holder("server", Profile.PEER)
    return mallory


@pytest.mark.parametrize(
    ("impostor", "alert", "words"),
    [
        ("self-signed", Alert.UNKNOWN_CA, "who is not trusted here"),
        ("of another CA", Alert.UNKNOWN_CA, "who is not trusted here"),
        ("for another name", Alert.BAD_CERTIFICATE, "is for mallory, not for server"),
    ],
    indirect=["impostor"],
)
async def test_the_client_refuses_an_impostor_before_its_secret_leaves(
    world: World,
    client: Client,
    server: Server,
    mallory: Holder,
    impostor: Holder,
    alert: Alert,
    words: str,
) -> None:
    async with (
        server.serving() as served,
        speaking_for_both(
            served.address,
            world=world,
            towards_client=impostor,
            towards_server=mallory,
        ) as relay,
    ):
        with pytest.raises(PeerRefusedError, match=words) as refused:
            await talk(client, relay.address)
    assert refused.value.alert is alert
    assert isinstance(relay.refused_by_client, RefusedByPeerError)
    assert relay.refused_by_client.alert is alert
    assert relay.refused_by_client.certificate is None  # nor did the client show its own
    assert not relay.read


def without_verification(client: Client) -> Client:
    """A client that takes every certificate, as many a tutorial teaches."""
    context = client.context
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return replace(client, admit=everybody, server_name=None)


def without_name_check(client: Client, world: World) -> Client:
    """A client that verifies the chain, and forgets to ask whose certificate it is."""
    context = client_context_for_any_host(
        trust=world.trust, chain=client.holder.chain, key=client.holder.key, alpn=[ALPN]
    )
    return replace(client, context=context, server_name=None)


@pytest.mark.parametrize(
    ("impostor", "without"),
    [
        ("self-signed", "verification"),
        ("of another CA", "verification"),
        ("for another name", "name check"),
    ],
    indirect=["impostor"],
)
async def test_without_that_check_the_client_tells_the_impostor_everything(
    world: World,
    client: Client,
    server: Server,
    mallory: Holder,
    impostor: Holder,
    without: str,
) -> None:
    if without == "verification":
        careless = without_verification(client)
    else:
        careless = without_name_check(client, world)
    # She is a member, and the server may well serve her under her own name.
    serving = replace(server, admit=checked(world, ["client", "mallory"]))
    async with (
        serving.serving() as served,
        speaking_for_both(
            served.address,
            world=world,
            towards_client=impostor,
            towards_server=mallory,
        ) as relay,
    ):
        assert await talk(careless, relay.address) == OTP
    assert relay.read == PIN + OTP
    assert served.told == [("mallory", PIN)]


# In the client's place, towards the server


@pytest.mark.parametrize(
    ("impostor", "alert"),
    [
        ("self-signed", Alert.UNKNOWN_CA),
        ("of another CA", Alert.UNKNOWN_CA),
        ("for another name", Alert.ACCESS_DENIED),
    ],
    indirect=["impostor"],
)
async def test_the_server_refuses_the_relay_even_if_the_client_does_not(
    world: World, client: Client, server: Server, impostor: Holder, alert: Alert
) -> None:
    async with (
        server.serving() as served,
        speaking_for_both(
            served.address,
            world=world,
            towards_client=impostor,
            towards_server=impostor,
        ) as relay,
    ):
        with pytest.raises(BindingMismatchError, match="neither READY nor ERROR"):
            await talk(without_verification(client), relay.address)
        refused = await served.end()
    assert isinstance(refused, PeerRefusedError)
    assert refused.alert is alert
    assert isinstance(relay.refused_by_server, RefusedByPeerError)
    assert relay.refused_by_server.alert is alert
    assert served.told == []


@pytest.mark.parametrize(
    "impostor", ["self-signed", "of another CA", "for another name"], indirect=True
)
async def test_a_server_without_that_check_serves_the_relay(
    world: World, other_world: World, client: Client, server: Server, impostor: Holder
) -> None:
    # It trusts her certificate, whoever issued it, and lets everybody in.
    context = server_context(
        chain=server.holder.chain,
        key=server.holder.key,
        trust=world.trust + other_world.trust + impostor.chain.read_text(),
        alpn=[ALPN],
    )
    careless = replace(server, context=context, admit=everybody)
    async with (
        careless.serving() as served,
        speaking_for_both(
            served.address,
            world=world,
            towards_client=impostor,
            towards_server=impostor,
        ) as relay,
    ):
        assert await talk(without_verification(client), relay.address) == OTP
    assert relay.read == PIN + OTP


# Trusted by both


@dataclass(frozen=True)
class Trusted:
    """What Mallory needs to be taken for the server by the client, and the other way round."""

    server: Holder
    client: Holder


@pytest.fixture(params=["certificates of her own", "stolen keys"])
def trusted(
    request: pytest.FixtureRequest, world: World, client: Client, server: Server
) -> Trusted:
    """By the CA's mistake she has certificates for both names, or she stole both private keys."""
    if request.param == "stolen keys":
        return Trusted(server=server.holder, client=client.holder)
    return Trusted(
        server=world.holder("server", Profile.SERVER), client=world.holder("client", Profile.CLIENT)
    )


async def test_a_relay_that_both_trust_and_that_forwards_the_frames_is_found_out(
    world: World, client: Client, server: Server, trusted: Trusted
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with (
            server.serving() as served,
            forwarding_frames(
                served.address,
                world=world,
                towards_client=trusted.server,
                towards_server=trusted.client,
            ) as relay,
        ):
            with pytest.raises(BindingMismatchError, match="neither READY nor ERROR"):
                await talk(client, relay.address)
            assert isinstance(await served.end(), BindingMismatchError)
    assert relay.refused_by_client is relay.refused_by_server is None  # TLS let her in
    assert relay.read  # and she saw KEY,
    assert PIN not in relay.read  # but nothing that came after it
    assert served.told == []
    assert {
        (event["event"], event["peer"])
        for event in logs
        if event.get("reason", "").startswith("KEY's tag does not verify")
    } == {("binding mismatch", "client")}


def bound_to_certificates_alone(**seen: bytes) -> bytes:
    return binding(**seen | {"tls_unique": b""})


@pytest.mark.parametrize(
    ("trusted", "careless"),
    [
        ("certificates of her own", bound_to_nothing),
        ("stolen keys", bound_to_nothing),
        ("stolen keys", bound_to_certificates_alone),
    ],
    indirect=["trusted"],
)
async def test_without_the_binding_that_relay_reads_everything(
    world: World,
    client: Client,
    server: Server,
    trusted: Trusted,
    careless: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asynctls.session.session, "binding", careless)
    async with (
        server.serving() as served,
        forwarding_frames(
            served.address,
            world=world,
            towards_client=trusted.server,
            towards_server=trusted.client,
        ) as relay,
    ):
        assert await talk(client, relay.address) == OTP
        assert await served.end() is None
    assert PIN in relay.read
    assert OTP in relay.read


async def test_a_relay_that_both_trust_and_that_speaks_the_protocol_is_not_covered(
    world: World, client: Client, server: Server, trusted: Trusted
) -> None:
    """docs/threat-model.md says so: who holds both names' certificates is both of them."""
    async with (
        server.serving() as served,
        speaking_for_both(
            served.address,
            world=world,
            towards_client=trusted.server,
            towards_server=trusted.client,
        ) as relay,
    ):
        assert await talk(client, relay.address) == OTP
    assert relay.read == PIN + OTP
