"""Replay: what was said once is said again, by somebody who could record it.

Three layers stand in the way. A connection recorded from the network is worth nothing to a server
that draws fresh randomness, and a record repeated within one fails TLS's own count. Frames recorded
in the clear (in a log, say, or out of a process's memory) do not fit another session, whose keys
differ, nor another connection, to which the keys are bound. And within a session, where the peer
itself could repeat a frame, each has a number under its MAC.

Each attack comes twice: against the victims as they are, and against victims with that one defence
taken away, where the same attack must succeed.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import asynctls.probe.insider
import asynctls.session.opener
import asynctls.session.protocol
import asynctls.session.sealer
import asynctls.session.session
from asynctls.admission import Peer
from asynctls.alerts import Alert
from asynctls.errors import (
    BindingMismatchError,
    ErrorCode,
    ForgedError,
    HandshakeError,
    MissingError,
    PeerRefusedError,
    ReplayedError,
    SessionError,
    SessionTruncatedError,
    TruncatedError,
)
from asynctls.mac import Secret
from asynctls.probe.relays import Alter, forwarding, play
from asynctls.session.frames import Close, Data, Error, Receipt
from tests.attacks.naked import bound_to_nothing
from tests.attacks.victims import (
    LIMIT_S,
    OTP,
    PIN,
    Client,
    Served,
    Server,
    checked,
    client_of,
    talk,
)
from tests.attacks.without_replay import Uncounting, one_key
from tests.attacks.without_tls import PlainClient, PlainServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.config import Address
    from asynctls.probe.insider import Insider
    from tests.attacks.world import Holder, World

APPLICATION_DATA = 23
ORDERS = [b"pay 1", b"pay 2", b"pay 3"]


# In the same session, by a peer that has its keys


@pytest.fixture
def without_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asynctls.session.protocol, "Opener", Uncounting)


def first_one_twice(sealed: list[bytes]) -> list[bytes]:
    return [sealed[0], sealed[0]]


def second_one_left_out(sealed: list[bytes]) -> list[bytes]:
    return [sealed[0], sealed[2]]


def last_two_exchanged(sealed: list[bytes]) -> list[bytes]:
    return [sealed[0], sealed[2], sealed[1]]


@pytest.mark.parametrize(
    ("tamper", "error", "code"),
    [
        (first_one_twice, ReplayedError, ErrorCode.REPLAYED),
        (second_one_left_out, MissingError, ErrorCode.MISSING),
        (last_two_exchanged, MissingError, ErrorCode.MISSING),
    ],
)
async def test_a_frame_out_of_sequence_is_named_for_what_it_is(
    client: Client,
    server: Server,
    tamper: Callable[[list[bytes]], list[bytes]],
    error: type[SessionError],
    code: ErrorCode,
) -> None:
    async with server.serving() as served:
        async with client.inside(served.address) as peer:
            await peer.send(*tamper([peer.seal.data(order) for order in ORDERS]))
            told = await peer.last_answer()
        assert type(await served.end()) is error
    assert isinstance(told, Error)
    assert told.code == code
    assert served.told == [("client", ORDERS[0])]


@pytest.mark.usefixtures("without_counting")
@pytest.mark.parametrize(
    ("tamper", "taken"),
    [
        (first_one_twice, [b"pay 1", b"pay 1"]),
        (second_one_left_out, [b"pay 1", b"pay 3"]),
        (last_two_exchanged, [b"pay 1", b"pay 3", b"pay 2"]),
    ],
)
async def test_without_the_sequence_check_it_is_taken(
    client: Client,
    server: Server,
    tamper: Callable[[list[bytes]], list[bytes]],
    taken: list[bytes],
) -> None:
    async with server.serving() as served:
        async with client.inside(served.address) as peer:
            await peer.send(*tamper([peer.seal.data(order) for order in ORDERS]))
            await peer.send(peer.seal.close())
            assert isinstance(await peer.last_answer(), Close)
        assert await served.end() is None
    assert [message for _, message in served.told] == taken


async def reflect(peer: Insider) -> None:
    """Send the server's answer (#2, after READY and a receipt) back to it, as our own #2."""
    await peer.send(peer.seal.data(PIN, receipt_wanted=True))
    assert isinstance(await peer.answer(), Receipt)
    assert isinstance(await peer.answer(), Data)
    await peer.send(peer.received[-1])


async def test_a_frame_sent_back_to_its_sender_is_named_a_forgery(
    client: Client, server: Server
) -> None:
    async with server.serving() as served:
        async with client.inside(served.address) as peer:
            await reflect(peer)
            await peer.last_answer()
        assert type(await served.end()) is ForgedError
    assert served.told == [("client", PIN)]


async def test_with_one_key_and_one_label_for_both_directions_it_is_taken(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asynctls.session.protocol, "derive", one_key)
    monkeypatch.setattr(asynctls.probe.insider, "derive", one_key)
    for end in (asynctls.session.opener, asynctls.session.sealer):
        monkeypatch.setattr(end, "external_aad", lambda _sender: b"\x40")
    async with server.serving() as served, client.inside(served.address) as peer:
        await reflect(peer)
        assert isinstance(await peer.answer(), Data)
    assert served.told == [("client", PIN), ("client", OTP)]


# In another session


@pytest.fixture
def without_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    # At both ends: the insider derives its keys as the victims do.
    monkeypatch.setattr(asynctls.session.session, "binding", bound_to_nothing)
    monkeypatch.setattr(asynctls.probe.insider, "binding", bound_to_nothing)


async def replay_from_one_session_in_the_next(
    client: Client, served: Served, secrets: tuple[Secret, Secret]
) -> SessionError | HandshakeError | None:
    async with client.inside(served.address, secret=secrets[0]) as peer:
        recorded = peer.seal.data(PIN)
        await peer.send(recorded, peer.seal.close())
        assert isinstance(await peer.last_answer(), Close)
    assert await served.end() is None
    async with client.inside(served.address, secret=secrets[1]) as peer:
        await peer.send(recorded)
        peer.seal.data(PIN)  # the number is used
        await peer.send(peer.seal.close())
        await peer.last_answer()
    return await served.end()


@pytest.mark.parametrize("secret_of_the_second", ["a new one", "the same again"])
async def test_a_frame_of_an_earlier_session_is_named_a_forgery(
    client: Client, server: Server, secret_of_the_second: str
) -> None:
    first = Secret.random()
    second = first if secret_of_the_second == "the same again" else Secret.random()
    async with server.serving() as served:
        ended = await replay_from_one_session_in_the_next(client, served, (first, second))
    assert type(ended) is ForgedError
    assert served.told == [("client", PIN)]


@pytest.mark.usefixtures("without_binding")
async def test_with_the_same_keys_for_both_sessions_it_is_taken(
    client: Client, server: Server
) -> None:
    always = Secret.random()
    async with server.serving() as served:
        assert await replay_from_one_session_in_the_next(client, served, (always, always)) is None
    assert served.told == [("client", PIN)] * 2


@pytest.fixture(params=["client", "mallory"])
def replayer(
    request: pytest.FixtureRequest, world: World, client: Client, mallory: Holder
) -> Client:
    """Who sends another session's frames: the same client, or another member."""
    if request.param == "client":
        return client
    return client_of(world, mallory)


@pytest.fixture
def open_server(world: World, server: Server) -> Server:
    """A server that serves Mallory too: TLS and the allow list are not what is tried here."""
    return replace(server, admit=checked(world, ["client", "mallory"]))


async def replay_the_whole_session(client: Client, replayer: Client, served: Served) -> bytes:
    """The client's frames, KEY included, over a TLS connection of the replayer's; the answer."""
    async with client.inside(served.address) as peer:
        await peer.send(peer.seal.data(PIN), peer.seal.close())
        assert isinstance(await peer.last_answer(), Close)
    assert await served.end() is None
    channel = await replayer.channel(served.address)
    channel.write(b"".join(peer.sent))
    answer = b""
    async with asyncio.timeout(LIMIT_S):
        while piece := await channel.read(1 << 16):
            answer += piece
        await channel.close()
    return answer


async def test_a_whole_session_over_another_connection_is_a_binding_mismatch(
    client: Client, open_server: Server, replayer: Client
) -> None:
    async with open_server.serving() as served:
        assert await replay_the_whole_session(client, replayer, served) == b""
        assert type(await served.end()) is BindingMismatchError
    assert served.told == [("client", PIN)]


@pytest.mark.usefixtures("without_binding")
async def test_without_the_binding_it_is_served(
    client: Client, open_server: Server, replayer: Client
) -> None:
    async with open_server.serving() as served:
        assert OTP in await replay_the_whole_session(client, replayer, served)
        assert await served.end() is None
    name = Peer.of(replayer.holder.certificate).name
    assert served.told == [("client", PIN), (name, PIN)]


# From the network, without any key


async def test_a_recorded_connection_played_again_does_not_get_through_tls(
    client: Client, server: Server
) -> None:
    async with server.serving() as served:
        async with forwarding(served.address) as relay:
            assert await talk(client, relay.address) == OTP
        assert await served.end() is None
        played = await play(b"".join(relay.from_client), served.address)
        refused = await served.end()
    assert isinstance(refused, PeerRefusedError)
    assert refused.alert is Alert.DECRYPT_ERROR
    assert "does not hold the private key" in refused.reason
    assert played.answer.endswith(bytes((21, 3, 3, 0, 2, 2, Alert.DECRYPT_ERROR)))
    assert played.closed
    assert served.told == [("client", PIN)]


def on_second_message(change: Callable[[bytes], bytes]) -> Alter:
    """Change the second record of application data: the first carries KEY, the second a message."""
    seen = 0

    def alter(record: bytes) -> bytes:
        nonlocal seen
        seen += record[0] == APPLICATION_DATA
        return change(record) if seen == 2 and record[0] == APPLICATION_DATA else record

    return alter


async def say_twice_and_listen(client: Client, server: Address) -> None:
    async with asyncio.timeout(LIMIT_S), client.session(server) as session:
        await session.send(PIN)
        # In a record of its own.
        await asyncio.sleep(0)
        await session.send(PIN)
        async for _ in session:
            pass


@pytest.mark.parametrize(
    "change", [lambda record: record * 2, lambda record: b""], ids=["sent twice", "dropped"]
)
async def test_a_record_sent_twice_or_dropped_in_flight_fails_tls(
    client: Client, server: Server, change: Callable[[bytes], bytes]
) -> None:
    async with (
        server.serving() as served,
        forwarding(served.address, from_client=on_second_message(change)) as relay,
    ):
        with pytest.raises(SessionTruncatedError):
            await say_twice_and_listen(client, relay.address)
        ended = await served.end()
    assert isinstance(ended, SessionTruncatedError)
    assert isinstance(ended.__cause__, TruncatedError)
    assert "tampered with" in str(ended.__cause__)
    assert served.told in ([], [("client", PIN)])


@pytest.fixture
def plain_client(client: Client, server: Server) -> PlainClient:
    return PlainClient(
        client.holder, client.context, client.admit, expected=server.holder.certificate
    )


@pytest.fixture
def plain_server(client: Client, server: Server) -> PlainServer:
    return PlainServer(
        server.holder, server.context, server.admit, expected=client.holder.certificate
    )


async def test_without_tls_a_recorded_connection_is_served_again(
    plain_client: PlainClient, plain_server: PlainServer
) -> None:
    async with plain_server.serving() as served:
        assert await talk(plain_client, served.address) == OTP
        assert await served.end() is None
        assert OTP in (await play(b"".join(plain_client.tape), served.address)).answer
        assert await served.end() is None
    assert served.told == [("client", PIN)] * 2


async def played_with_a_frame_twice(plain_client: PlainClient, served: Served) -> None:
    async with plain_client.inside(served.address) as peer:
        await peer.send(peer.seal.data(PIN), peer.seal.close())
        assert isinstance(await peer.last_answer(), Close)
    assert await served.end() is None
    key, message, close = peer.sent
    await play(key + message + message + close, served.address)


async def test_without_tls_the_session_still_finds_a_frame_sent_twice(
    plain_client: PlainClient, plain_server: PlainServer
) -> None:
    async with plain_server.serving() as served:
        await played_with_a_frame_twice(plain_client, served)
        assert type(await served.end()) is ReplayedError


@pytest.mark.usefixtures("without_counting")
async def test_without_tls_and_the_sequence_check_it_is_taken_twice(
    plain_client: PlainClient, plain_server: PlainServer
) -> None:
    async with plain_server.serving() as served:
        await played_with_a_frame_twice(plain_client, served)
        assert await served.end() is None
    assert served.told == [("client", PIN)] * 3
