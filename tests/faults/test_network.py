"""A network that loses, doubles, delays, parts and comes back.

Segments that overtake one another are TCP's to put in order, and cannot be seen above it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

import asynctls as library
from asynctls.server.library import serving
from tests.faults.network import HERE, network
from tests.faults.relays import slow_to
from tests.roles.keeping import KEEPING, have_app, kept

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from asynctls.testing import CA
    from tests.faults.network import Network
    from tests.roles.processes import Daemons, Process

pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(120)]

LINES = 300
# The least that can be set: a peer that is silent to TCP for so long is dead.
SOON_DEAD = ("--keepalive", "10s")


class World:
    """A server on one machine, and clients on the other."""

    def __init__(self, asynctls: Daemons, ca: CA, network: Network, home: Path) -> None:
        self._asynctls = asynctls
        self._network = network
        self._identities = {name: ca.identity(name) for name in ("server", "client")}
        self._home = home

    async def server(self, *words: str) -> Process:
        have_app(self._home)
        self._asynctls.inside = self._network.here.enter
        server, self._at = await self._asynctls.server(
            self._identities["server"], "--listen", f"{HERE}:0", *KEEPING, *words
        )
        return server

    async def client(self, *words: str, given: str | None = None) -> Process:
        self._asynctls.inside = self._network.there.enter
        return await self._asynctls.client(
            self._identities["client"], self._at, "--send", "-", *words, given=given
        )


async def test_what_is_slow_and_comes_in_pieces_comes_whole(ca: CA, chance: random.Random) -> None:
    came: list[bytes] = []

    async def keep(session: library.Session) -> None:
        came.extend([message async for message in session])

    sent = [chance.randbytes(chance.choice((0, 1, 1000, 70_000))) for _ in range(40)]
    identity = ca.identity("client")
    server = serving(keep, "127.0.0.1:0", identity=ca.identity("server"), allow=["client"])
    async with (
        server as address,
        slow_to(address, chance) as slowly,
        library.connect(slowly, server_name="server", identity=identity) as session,
    ):
        async with asyncio.TaskGroup() as sending:
            for message in sent:
                sending.create_task(session.send(message, receipt=True))
        await session.close()
        assert session.failure is None
    assert came == sent


async def test_loss_and_duplication_change_nothing(
    asynctls: Daemons, ca: CA, tmp_path: Path
) -> None:
    async with network() as cable:
        world = World(asynctls, ca, cable, tmp_path / "home")
        await cable.lose(one_in=11)
        await cable.double(one_in=5)
        server = await world.server()
        lines = [b"line %d" % number for number in range(LINES)]
        client = await world.client(given=b"\n".join(lines).decode())
        assert (await client.ended()).code == 0
        ended = await server.event("session ended")
        assert (ended["peer"].partition(" ")[0], ended["reason"]) == (
            "client",
            "both ends closed it",
        )
        assert kept(tmp_path / "home") == lines
        assert (await server.stop()).code == 0
        await asynctls.end()


async def test_parted_both_ends_find_it_out_and_a_follower_comes_back(
    asynctls: Daemons, ca: CA, tmp_path: Path
) -> None:
    async with network() as cable:
        world = World(asynctls, ca, cable, tmp_path / "home")
        server = await world.server(*SOON_DEAD)
        talker = await world.client("--follow", *SOON_DEAD)
        await talker.give(b"before\n")
        quiet = await world.client(*SOON_DEAD)
        await server.event("session started", count=2)
        await cable.part()
        # One is gone and cannot say so: its connection is half open.
        await quiet.kill()
        await talker.give(b"meanwhile\n")
        # The server has nothing to say, and asks; the talker has, and nobody answers.
        await server.event("session ended", count=2)
        lost = [*server.named("session ended"), await talker.event("session ended")]
        for each in lost:
            assert each["reason"].startswith(
                "the connection ended without CLOSE (Connection timed out)"
            )
        await cable.mend()
        await talker.event("session started", count=2)
        await talker.give(b"after\n", end=True)
        assert (await talker.ended()).code == 0
        # What has its receipt is not sent again; whether the first had, before all went silent, is
        # a matter of moments.
        came = Counter(kept(tmp_path / "home"))
        assert came.pop(b"before") in {1, 2}
        assert came == Counter([b"meanwhile", b"after"])
        assert (await server.stop()).code == 0
        await asynctls.end()
