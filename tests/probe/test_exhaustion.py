"""What is measured while a server is loaded: on whom, from where, and when it says nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from asynctls.admission import Peer
from asynctls.probe import burdens, exhaustion
from asynctls.probe.attack import Target, Verdict
from asynctls.probe.attacker import Attacker
from asynctls.probe.clients import careless
from asynctls.probe.exhaustion import ATTACKS
from asynctls.probe.footprint import Memory, listeners
from asynctls.probe.relays import listening
from asynctls.server.library import serving, serving_streams
from tests.attacks.between import passing_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynctls.config import Address
    from asynctls.enrolment import Identity
    from asynctls.session import Session
    from asynctls.streams import PeerStream
    from asynctls.testing import CA

BY_NAME = {attack.name: attack for attack in ATTACKS}


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    # However many others this machine is busy with.
    monkeypatch.setattr(exhaustion, "_BEGINS_WITHIN_S", 50.0)
    monkeypatch.setattr(exhaustion, "_HEAD_START_S", 0.3)
    monkeypatch.setattr(exhaustion, "_BEYOND_S", 0.3)
    monkeypatch.setattr(exhaustion, "_STRETCHES", 1)


def target_of(address: Address, client: Identity, server: Identity, *, sessions: bool) -> Target:
    return Target(address, client, Peer.of(server.certificate), sessions=sessions)


async def echo(stream: PeerStream) -> None:
    while received := await stream.read():
        stream.write(received)
        await stream.drain()


async def take_all(session: Session) -> None:
    async for _ in session:
        pass


@pytest.mark.parametrize(
    "name", ["oversized lengths", "flood of tiny frames", "windows that never open"]
)
async def test_a_server_without_sessions_is_loaded_as_well(asynctls_ca: CA, name: str) -> None:
    client, server = asynctls_ca.identity("client"), asynctls_ca.identity("server")
    async with serving_streams(echo, "127.0.0.1:0", identity=server, allow=["any"]) as address:
        target = target_of(address, client, server, sessions=False)
        verdict, answer = await BY_NAME[name].run(target)
    # Attackers, bystander and server share one loop here: what comes of it says nothing.
    assert verdict is not Verdict.NOT_TRIED, answer
    assert "it had not refused" not in answer
    assert "its memory grew by" in answer


@pytest.mark.one_loop
async def test_what_claims_to_be_too_large_was_answered_so_that_it_had_arrived(
    asynctls_ca: CA,
) -> None:
    client, server = asynctls_ca.identity("client"), asynctls_ca.identity("server")
    async with serving(take_all, "127.0.0.1:0", identity=server, allow=["any"]) as address:
        target = target_of(address, client, server, sessions=True)
        _, answer = await BY_NAME["oversized lengths"].run(target)
    assert "a record of 64 KiB was answered by record overflow (alert 22)" in answer
    assert "a ClientHello of 16 MiB was answered by illegal parameter (alert 47)" in answer
    assert "a frame of 1 GiB was answered by ERROR 5: " in answer


@pytest.mark.one_loop
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is nobody's")
async def test_a_server_that_cuts_off_whoever_attacks_whatever_he_says_was_told_nothing(
    asynctls_ca: CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However many others this machine is busy with.
    monkeypatch.setattr(exhaustion, "P99_S", 5.0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if writer.get_extra_info("peername")[0] == "127.0.0.1":
            await passing_on(reader, writer, to=to)

    client, server = asynctls_ca.identity("client"), asynctls_ca.identity("server")
    async with (
        serving(take_all, "127.0.0.1:0", identity=server, allow=["any"]) as to,
        listening(serve) as address,
    ):
        target = target_of(address, client, server, sessions=True)
        verdict, answer = await BY_NAME["oversized lengths"].run(target)
    assert verdict is Verdict.NOT_TRIED, answer
    assert answer.endswith(
        "nothing shows that it had a ClientHello of 16 MiB, a frame of 1 GiB, a record of 64 KiB"
    )


@pytest.mark.one_loop
async def test_an_app_that_fails_by_itself_has_refused_no_frame(
    asynctls_ca: CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exhaustion, "P99_S", 5.0)

    async def failing(session: Session) -> None:
        raise RuntimeError("it can do nothing")

    client, server = asynctls_ca.identity("client"), asynctls_ca.identity("server")
    async with serving(failing, "127.0.0.1:0", identity=server, allow=["any"]) as address:
        target = target_of(address, client, server, sessions=True)
        verdict, answer = await BY_NAME["oversized lengths"].run(target)
    assert verdict is Verdict.NOT_TRIED, answer
    assert answer.endswith("nothing shows that it had a frame of 1 GiB")


@pytest.mark.one_loop
async def test_of_a_server_that_serves_nobody_anyway_nobody_knows(asynctls_ca: CA) -> None:
    client, server = asynctls_ca.identity("client"), asynctls_ca.identity("server")
    async with serving(take_all, "127.0.0.1:0", identity=server, allow=["another"]) as address:
        target = target_of(address, client, server, sessions=True)
        verdict, answer = await BY_NAME["slow handshakes"].run(target)
    assert verdict is Verdict.NOT_TRIED
    assert answer == "it takes a server that serves us also without an attack"


@pytest.mark.one_loop
async def test_an_attack_that_does_not_come_about_is_not_withstood(
    asynctls_ca: CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = asynctls_ca.identity("client"), asynctls_ca.identity("server")
    # No address of this machine, so that no connection can come from there.
    monkeypatch.setattr(exhaustion, "_ATTACKERS_ADDRESS", "192.0.2.1")
    monkeypatch.setattr(exhaustion, "_BEGINS_WITHIN_S", 0.3)
    async with serving(take_all, "127.0.0.1:0", identity=server, allow=["any"]) as address:
        target = target_of(address, client, server, sessions=True)
        verdict, answer = await BY_NAME["slow handshakes"].run(target)
    assert verdict is Verdict.NOT_TRIED
    assert answer == "the server took none of the attackers' connections"


async def test_a_server_that_resets_who_is_slow_does_not_end_the_probe(asynctls_ca: CA) -> None:
    resets = 0

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal resets
        await asyncio.sleep(0.1)
        at_once = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        writer.transport.abort()
        resets += 1
        if resets > 2 * burdens.CONNECTIONS:
            enough.set()

    client, server = asynctls_ca.identity("client"), asynctls_ca.identity("server")
    enough = asyncio.Event()
    async with listening(serve) as address:
        target = target_of(address, client, server, sessions=True)
        attacker = Attacker(
            target,
            await careless(target, client.store, certificate=client.certificate),
            host=address.host,
            local_address=None,
        )
        attacking = asyncio.create_task(burdens.slow_handshakes(attacker))
        seen = asyncio.create_task(enough.wait())
        ended, _ = await asyncio.wait([attacking, seen], return_when=asyncio.FIRST_COMPLETED)
        assert ended == {seen}
        attacking.cancel()
        await asyncio.wait([attacking])


@pytest.fixture
def at_port() -> Iterator[int]:
    """Where this process listens, on one address."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


def test_the_processes_that_listen_are_found_by_address_and_port(at_port: int) -> None:
    assert listeners("127.0.0.1", at_port) == (os.getpid(),)
    assert listeners("127.0.0.2", at_port) == ()
    with closing(socket.create_server(("", 0))) as everywhere:
        assert listeners("127.0.0.2", everywhere.getsockname()[1]) == (os.getpid(),)


@pytest.mark.one_loop
async def test_memory_is_what_it_grew_by_at_most() -> None:
    memory = Memory((os.getpid(),))
    await memory.look()
    ballast = bytearray(os.urandom(1024)) * (48 * 1024)
    await memory.look()
    del ballast
    await memory.look()
    assert 40 < memory.grown_mib < 64
    unseen = Memory(())
    await unseen.look()
    assert (unseen.grown_mib, unseen.words) == (0, "its memory cannot be seen from here")
