"""An account of a server of others: what it does not do is said, and a refusal says why."""

from __future__ import annotations

import json
import socket
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynctls.admission import Anyone
from asynctls.config import Address, ClientConfig
from asynctls.costs import wire
from asynctls.costs.connection import measure_connection
from asynctls.costs.ends import Caller
from asynctls.costs.export import to_json
from asynctls.costs.report import Group, Handshake
from asynctls.enrolment.keeper import Keeper
from asynctls.errors import HandshakeError, ServerUnreachableError
from asynctls.server.accepting import Terms
from asynctls.server.connections import SessionServer
from asynctls.server.running import serving_alone
from asynctls.server.services import Service
from asynctls.session import ALPN, Limits
from asynctls.testing import CA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from asynctls.session import Session

# The connections themselves are tested on both loops in test_capture; operations are timed here.
pytestmark = pytest.mark.one_loop


@pytest.fixture
def ca(tmp_path: Path) -> CA:
    return CA(tmp_path)


@asynccontextmanager
async def serving(
    ca: CA,
    name: str,
    *,
    messages: int = 1,
    on_session: Callable[[Keeper], None] = lambda _keeper: None,
) -> AsyncIterator[Address]:
    """A server of that name: how many messages it sends, and what it does in a session besides."""
    async with Keeper(ca.identity(name), crl_interval=timedelta(minutes=1)) as keeper:

        async def app(session: Session) -> None:
            on_session(keeper)
            for _ in range(messages):
                await session.send(b"hello", receipt=True)

        service = Service(
            setting="listen",
            listen=Address("127.0.0.1", 0),
            terms=Terms(allow=Anyone(), alpn=ALPN, handshakes=8, handshake_timeout_s=10),
            serves=lambda acceptor, observer: SessionServer(
                app, acceptor, limits=Limits(), observer=observer
            ),
        )
        async with serving_alone(service, keeper, drain_s=0) as address:
            yield address


async def test_any_member_of_the_ttps_is_accounted_for_and_its_name_is_told(ca: CA) -> None:
    async with serving(ca, "spiffe://example.org/orders") as address:
        report = await measure_connection(
            address, server_name=None, state=ca.identity("client").folder
        )
    assert [each.handshake for each in report.conversations] == list(Handshake)
    assert "names it spiffe://example.org/orders" in report.notes[0]
    assert all(each.payload == len(b"hello") for each in report.conversations)
    assert not any("resume" in note for note in report.notes)


async def test_what_a_server_does_not_do_is_said(ca: CA) -> None:
    async with serving(ca, "server", messages=0, on_session=Keeper.retire_contexts) as address:
        report = await measure_connection(
            address, server_name="server", state=ca.identity("client").folder
        )
    assert [each.handshake for each in report.conversations] == [Handshake.FULL, Handshake.FULL]
    assert all(Group.CERTIFICATE_VERIFY in each.groups for each in report.conversations)
    assert any("did not resume" in note for note in report.notes)
    assert any("sent no message" in note for note in report.notes)
    written = json.loads(to_json(report))
    assert written["messages"] == {"octets": 0, "records": 0, "by_sender": {}}


async def test_a_server_that_is_not_who_was_wanted_is_refused(ca: CA) -> None:
    client = ca.identity("client").folder
    async with serving(ca, "server") as address:
        for wanted in ("other", "spiffe://example.org/other"):
            with pytest.raises(HandshakeError, match="say so: --server-name server"):
                await measure_connection(address, server_name=wanted, state=client)


async def test_a_server_of_another_ttps_is_refused_whoever_it_is(ca: CA, tmp_path: Path) -> None:
    others = tmp_path / "others"
    others.mkdir()
    async with serving(CA(others), "server") as address:
        # Its host is where we dialled, and nobody that was expected.
        expected = f"at {address}, expected to be certified by the CA of our identity: "
        with pytest.raises(HandshakeError, match=expected):
            await measure_connection(address, server_name=None, state=ca.identity("client").folder)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses at once")
async def test_a_server_that_does_not_answer_is_given_up_before_the_handshake_would_be(
    ca: CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else the handshake would come to nothing first, and why would not be known.
    assert ClientConfig().connect_timeout.total_seconds() > wire._CONNECT_S
    monkeypatch.setattr(wire, "_CONNECT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        address = Address(*deaf.getsockname())
        # Whoever comes after this one is not answered: the queue is full.
        with (
            socket.create_connection(deaf.getsockname()),
            pytest.raises(ServerUnreachableError, match=f"{address} did not answer within 0.3 s"),
        ):
            await measure_connection(address, server_name=None, state=ca.identity("client").folder)


async def test_a_relay_that_is_gone_is_told_as_a_server_that_is_not_there(ca: CA) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nobody = Address(*gone.getsockname())
    async with Keeper(ca.identity("client"), crl_interval=timedelta(minutes=1)) as keeper:
        caller = Caller(
            keeper, through=nobody, address=nobody, server_name="server", quiet_s=1.0, most=1
        )
        for hold in (caller.session, caller.plain):
            with pytest.raises(ServerUnreachableError, match="Connection refused"):
                await hold()
