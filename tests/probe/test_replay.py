"""Where nobody can tell whether a replay got through, the probe says so, and what it would take."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

from asynctls.admission import Peer
from asynctls.config import Address
from asynctls.probe.attack import Attack, Needs, Target, Verdict
from asynctls.probe.playbook import PLAYBOOK, try_all
from asynctls.probe.relays import listening, play
from asynctls.server.library import serving, serving_streams
from asynctls.testing import CA
from tests.attacks.between import passing_on

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    import asynctls
    from asynctls.enrolment import Identity
    from asynctls.server.apps import App

pytestmark = pytest.mark.one_loop


@pytest.fixture
def ca(tmp_path: Path) -> CA:
    return CA(tmp_path)


def target_of(server: Identity, address: Address, ca: CA, *, sessions: bool = True) -> Target:
    return Target(
        address, ca.identity("client"), server=Peer.of(server.certificate), sessions=sessions
    )


def named(*names: str) -> list[Attack]:
    return [attack for attack in PLAYBOOK if attack.name in names]


async def take_all(session: asynctls.Session) -> None:
    async for _ in session:
        pass


async def hasty(session: asynctls.Session) -> None:
    """It has nothing to say, and ends its direction at once."""


async def failing(session: asynctls.Session) -> None:
    """As a tunnel's end does whose other program is away."""
    raise RuntimeError("it can do nothing")


@pytest.mark.parametrize(
    "attack",
    [
        "bit flipped in the client's alert",
        "frame left out",
        "frame reflected",
        "cut without CLOSE, towards the server",
    ],
)
async def test_an_app_that_fails_by_itself_has_withstood_nothing(ca: CA, attack: str) -> None:
    server = ca.identity("server")
    async with serving(failing, "127.0.0.1:0", identity=server, allow=["any"]) as address:
        (found,) = await try_all(target_of(server, address, ca), attacks=named(attack))
    assert found.verdict is Verdict.NOT_TRIED
    assert found.answer.startswith("it takes an app that lets the session be: the server sent ERR")


@pytest.mark.parametrize(
    ("app", "takes"),
    [
        (take_all, "it takes an app that says something by itself"),
        (failing, "it takes an app that lets the session be: there was one frame"),
    ],
)
async def test_of_a_server_that_says_too_little_no_frames_can_be_altered(
    ca: CA, app: App, takes: str
) -> None:
    server = ca.identity("server")
    async with serving(app, "127.0.0.1:0", identity=server, allow=["any"]) as address:
        (found,) = await try_all(
            target_of(server, address, ca), attacks=named("frame left out, towards our client")
        )
    assert (found.verdict, found.answer) == (Verdict.NOT_TRIED, takes)


@pytest.mark.parametrize("app", [hasty, failing])
async def test_our_client_tells_a_cut_from_whatever_an_app_says_at_its_end(
    ca: CA, app: App
) -> None:
    server = ca.identity("server")
    async with serving(app, "127.0.0.1:0", identity=server, allow=["any"]) as address:
        (cut,) = await try_all(
            target_of(server, address, ca),
            attacks=named("cut without CLOSE, towards our client"),
        )
    assert cut.verdict is Verdict.WITHSTOOD
    assert "the connection ended without CLOSE" in cut.answer


async def test_a_server_that_closes_by_itself_shows_nothing_when_it_is_cut(ca: CA) -> None:
    server = ca.identity("server")
    async with serving(hasty, "127.0.0.1:0", identity=server, allow=["any"]) as address:
        (cut,) = await try_all(
            target_of(server, address, ca),
            attacks=named("cut without CLOSE, towards the server"),
        )
    assert cut.verdict is Verdict.NOT_TRIED
    assert cut.answer.startswith("it takes an app that lets the session be")
    assert "CLOSE #1" in cut.answer


@pytest.mark.parametrize(
    ("stays", "end"),
    [
        (False, "the server said nothing, and closed the connection"),
        (True, "the server said nothing, and had not closed the connection after 2 s"),
    ],
)
async def test_who_does_not_answer_a_replay_has_closed_or_stayed_silent(
    ca: CA, *, stays: bool, end: str
) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections == 2:
            # The replay, between two honest connections.
            while stays and await reader.read(1 << 16):
                pass
            return
        await passing_on(reader, writer, to=to)

    server = ca.identity("server")
    async with (
        serving(take_all, "127.0.0.1:0", identity=server, allow=["any"]) as to,
        listening(serve) as address,
    ):
        (found,) = await try_all(
            target_of(server, address, ca), attacks=named("whole connection again")
        )
    assert (found.verdict, found.answer) == (Verdict.WITHSTOOD, end)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses at once")
async def test_a_recording_is_not_sent_for_ever_to_whom_packets_do_not_reach() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as deaf,
        # Whoever comes after this one is not answered: the queue is full.
        socket.create_connection(deaf.getsockname()),
        pytest.raises(TimeoutError),
    ):
        await play(b"what was recorded", Address(*deaf.getsockname()), patience_s=0.3)


async def test_no_app_gets_a_message_from_a_replay(ca: CA) -> None:
    sessions, told = 0, []

    async def take_down(session: asynctls.Session) -> None:
        nonlocal sessions
        sessions += 1
        told.extend([message async for message in session])

    server = ca.identity("server")
    async with serving(take_down, "127.0.0.1:0", identity=server, allow=["any"]) as address:
        findings = await try_all(
            target_of(server, address, ca),
            attacks=[each for each in PLAYBOOK if each.group == "replay"],
        )
    assert {each.verdict for each in findings} == {Verdict.WITHSTOOD, Verdict.NOT_TRIED}
    assert sessions > 0
    assert told == []


async def test_of_a_server_without_sessions_what_is_below_them_is_tried(ca: CA) -> None:
    async def carry(stream: asynctls.PeerStream) -> None:
        while piece := await stream.read():
            stream.write(piece)

    server = ca.identity("server")
    attacks = [each for each in PLAYBOOK if each.group in ("man in the middle", "replay")]
    async with serving_streams(carry, "127.0.0.1:0", identity=server, allow=["any"]) as address:
        findings = await try_all(target_of(server, address, ca, sessions=False), attacks=attacks)
    below = [each for each in attacks if not each.on_sessions and each.needs is Needs.NOTHING]
    assert [each.attack for each in findings if each.verdict is Verdict.WITHSTOOD] == [
        each.name for each in below
    ]
    assert [each.attack for each in findings if each.verdict is Verdict.NOT_WITHSTOOD] == []
