"""Revocation bites: who is revoked is out within moments, told so, and nobody else; all processes.

Server and clients fetch the CRL each second here. Clients that follow an echo stay, come back, and
show at each moment who may talk.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.alerts import Alert
from asynctls.enrolment import JoinString, join
from asynctls.pki.keys import KeyType

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.enrolment import Identity
    from tests.roles.processes import Daemons, Process

pytestmark = pytest.mark.one_loop

OFTEN = ("--crl-interval", "1s")
SELDOM = ("--crl-interval", "1h")
ECHO = ("--app", "echo", "--allow", "other")


class Fleet:
    """A TTP, and roles that joined it, all as processes."""

    def __init__(self, asynctls: Daemons, folder: Path) -> None:
        self.asynctls = asynctls
        self.folder = folder

    async def start_ttp(self, *words: str) -> None:
        self.ttp, self.at = await self.asynctls.ttp(self.folder / "ttp", *words)

    async def run_ttp(self, *words: str) -> bytes:
        ended = await self.asynctls.run("ttp", *words, "--state", self.folder / "ttp")
        assert ended.code == 0, ended.said
        return ended.out

    async def identity(self, name: str) -> Identity:
        role = () if name in {"server", "client"} else ("--role", "client")
        token = await self.run_ttp("token", name, *role)
        return await join(
            self.folder / name,
            JoinString.parse(token.decode()),
            key_type=KeyType.ECDSA_P256,
            give_up_after=timedelta(seconds=10),
        )

    async def follower(self, identity: Identity, address: str, *words: str) -> Process:
        """A client that follows, and has had its first line echoed."""
        client = await self.asynctls.client(
            identity, address, "--follow", "--send", "-", *words, given=None
        )
        await self.talks(client, 1)
        return client

    async def talks(self, client: Process, count: int) -> None:
        """Shows that the client's session lives, by its ``count``-th message."""
        await client.give(b"still there?\n")
        await client.received(count)


@pytest.fixture
def fleet(asynctls: Daemons, tmp_path: Path) -> Fleet:
    return Fleet(asynctls, tmp_path)


def events_of(process: Process, name: str, identity: Identity) -> list[dict[str, Any]]:
    peer = f"{identity.name} (serial {identity.serial})"
    return [event for event in process.named(name) if event["peer"] == peer]


async def test_a_revoked_client_is_ended_and_told_and_the_others_session_goes_on(
    fleet: Fleet,
) -> None:
    await fleet.start_ttp()
    revoked, other = await fleet.identity("client"), await fleet.identity("other")
    server, address = await fleet.asynctls.server(await fleet.identity("server"), *ECHO, *OFTEN)
    client = await fleet.follower(revoked, address)
    goes_on = await fleet.follower(other, address)

    assert (await fleet.run_ttp("revoke", "client")).decode().split() == [revoked.serial]
    told = str((await client.event("session ended"))["reason"])
    assert told.startswith("the peer has ended the session: certificate revoked: ")
    await server.until(lambda: events_of(server, "session ended", revoked) != [], "its end")
    (ended,) = events_of(server, "session ended", revoked)
    assert "its certificate is revoked (CRL " in ended["reason"]

    # It comes back, and each time is told by an alert before anything is said.
    again = str((await client.event("connecting again", count=2))["reason"])
    assert "alert 44, certificate revoked" in again
    await server.until(lambda: events_of(server, "refused", revoked) != [], "its refusal")
    (refused, *_) = events_of(server, "refused", revoked)
    assert refused["alert"] == Alert.CERTIFICATE_REVOKED

    await fleet.talks(goes_on, 2)
    assert not goes_on.named("session ended")
    assert not events_of(server, "session ended", other)
    assert client.said == ["Message received"]


async def test_a_revoked_server_is_left_by_its_clients_who_tell_it(fleet: Fleet) -> None:
    await fleet.start_ttp()
    held = await fleet.identity("server")
    server, address = await fleet.asynctls.server(held, *ECHO, *SELDOM)
    client = await fleet.follower(await fleet.identity("client"), address, *OFTEN)

    await fleet.run_ttp("revoke", "server")
    reason = str((await client.event("session ended"))["reason"])
    assert "its certificate is revoked (CRL " in reason
    told = str((await server.event("session ended"))["reason"])
    assert told.startswith("the peer has ended the session: certificate revoked: ")
    again = str((await client.event("connecting again", count=2))["reason"])
    assert "we refused the server" in again
    heard = await server.event("refused by peer")
    assert heard["alert"] == Alert.CERTIFICATE_REVOKED


async def test_a_refusal_by_its_peer_has_a_server_ask_before_its_time(fleet: Fleet) -> None:
    """The client knows of the revocation first; the server then asks, an hour before its time."""
    await fleet.start_ttp()
    held = await fleet.identity("server")
    server, address = await fleet.asynctls.server(held, *ECHO, *SELDOM)
    taken = len(server.named("CRL taken"))
    await fleet.run_ttp("revoke", "server")
    client = await fleet.asynctls.client(await fleet.identity("client"), address)
    assert (await client.ended()).code == 1
    await server.event("CRL taken", count=taken + 1)


async def test_with_the_ttp_out_of_reach_they_go_on_and_then_refuse_loudly(
    fleet: Fleet,
) -> None:
    brief = ("--crl-lifetime", "20s", "--crl-interval", "1s")
    await fleet.start_ttp(*brief)
    server, address = await fleet.asynctls.server(await fleet.identity("server"), *ECHO, *OFTEN)
    first, second = await fleet.identity("client"), await fleet.identity("other")
    live = await fleet.follower(first, address, *OFTEN)
    assert (await fleet.ttp.stop()).code == 0
    await server.event("CRL not fetched")

    # On the last good list, for those who are in as for those who come.
    new = await fleet.follower(second, address, *OFTEN)
    await fleet.talks(live, 2)
    assert not server.named("CRL ended")
    assert not server.named("refused")

    ended = await server.event("CRL ended")
    assert ended["level"] == "error"
    for client in (live, new):
        await client.event("session ended")
    for event in server.named("session ended"):
        # Which of the two ends looks first is chance; neither calls it expired or revoked.
        assert "no current CRL" in event["reason"] or "CRL not current" in event["reason"]
    await live.event("connecting again", count=2)
    said = json.dumps([*server.events, *live.events, *new.events])
    assert "alert 45" not in said
    assert "alert 44" not in said
    assert "is revoked" not in said

    # Back again, it is asked within moments, and the followers find their way back by themselves.
    await fleet.asynctls.ttp(fleet.folder / "ttp", "--listen", fleet.at)
    await server.event("CRL fetched again")
    await fleet.talks(live, 3)
    await fleet.talks(new, 2)


async def test_go_on_keeps_them_in_on_a_list_that_has_ended_but_for_those_on_it(
    fleet: Fleet,
) -> None:
    go_on = ("--stale-crl", "go-on", *OFTEN)
    await fleet.start_ttp("--crl-lifetime", "5s", "--crl-interval", "1s")
    held = await fleet.identity("server")
    server, address = await fleet.asynctls.server(held, *ECHO, *go_on)
    client, revoked = await fleet.identity("client"), await fleet.identity("other")
    live = await fleet.follower(client, address, *go_on)
    out = await fleet.follower(revoked, address, *go_on)
    await fleet.run_ttp("revoke", "other")
    await out.event("session ended")
    assert (await fleet.ttp.stop()).code == 0

    ended = await server.event("CRL ended")
    assert ended["level"] == "error"
    assert "who was revoked since is not known" in ended["then"]
    assert datetime.now(UTC) > datetime.fromisoformat(ended["ended_on"][0])
    await live.event("CRL ended")
    await fleet.talks(live, 2)
    assert not live.named("session ended")
    new = await fleet.asynctls.client(client, address, "--send", "-", *go_on, given="hello\n")
    assert (await new.ended()).out == b"hello\n"
    old = await fleet.asynctls.client(revoked, address, *go_on)
    assert "alert 44, certificate revoked" in (await old.ended()).said[0]
