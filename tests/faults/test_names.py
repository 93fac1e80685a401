"""Names that do not resolve, and a resolver that never answers: told in words, and nobody waits."""

from __future__ import annotations

import json
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.faults.namespaces import machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asynctls.testing import CA
    from tests.faults.namespaces import Machine
    from tests.roles.processes import Daemons, Event, Process

pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(120)]

SILENT = "10.8.0.9"
LOCALHOST = "127.0.0.1 localhost"
# A lookup that nobody answers takes ten.
SOON_S = 5.0


class Names:
    """What a machine knows of names: its hosts, and whom it asks for others."""

    def __init__(self, folder: Path) -> None:
        self._hosts, self._resolver = folder / "hosts", folder / "resolv.conf"
        self.know()
        self.ask(SILENT)

    def know(self, *names: str) -> None:
        """These, and no others."""
        self._hosts.write_text(" ".join((LOCALHOST, *names)) + "\n")

    def ask(self, server: str) -> None:
        """Of other names."""
        self._resolver.write_text(f"nameserver {server}\n")

    async def bind(self, at: Machine) -> None:
        """Has a machine live by them."""
        await at.does(
            f"mount --bind '{self._hosts}' /etc/hosts",
            f"mount --bind '{self._resolver}' /etc/resolv.conf",
        )


@asynccontextmanager
async def names(folder: Path) -> AsyncIterator[tuple[Machine, Names]]:
    """A machine of its own, on whose network nobody says anything, and its names."""
    async with machine("mount", "net") as alone:
        await alone.does(
            "ip link set lo up",
            "ip link add silent type veth peer name nobody",
            "ip link set silent up",
            "ip link set nobody up",
            "ip addr add 10.8.0.1/24 dev silent",
            f"ip neigh add {SILENT} lladdr 02:00:00:00:00:09 dev silent",
        )
        found = Names(folder)
        await found.bind(alone)
        yield alone, found


async def talks(client: Process) -> None:
    """A line goes there and comes back."""
    received = client.said.count("Message received")
    await client.give(b"still there?\n")
    await client.received(received + 1)


async def test_without_names_roles_try_again_in_words_and_who_needs_none_is_served(
    asynctls: Daemons, ca: CA, tmp_path: Path
) -> None:
    server_identity, client_identity = ca.identity("server"), ca.identity("client")
    origin = server_identity.folder / "identity.json"
    by_name = json.loads(origin.read_bytes()) | {"ttp": "ttp.test:8440"}
    origin.write_text(json.dumps(by_name))
    async with names(tmp_path) as (alone, known):
        asynctls.inside = alone.enter
        server, address = await asynctls.server(server_identity, "--app", "echo")
        # It has asked for its TTP's name all the while.
        assert server.named("starting with the CRL on disk")
        follow = ("--follow", "--send", "-", "--connect-timeout", "1s")
        near = await asynctls.client(client_identity, address, *follow, given=None)
        await talks(near)

        by_name = f"server.test:{address.rpartition(':')[2]}"
        far = await asynctls.client(client_identity, by_name, *follow, given=None)
        silence: Event = await far.event("connecting again")
        assert silence["reason"] == f"the server at {by_name} did not answer within 1 s"
        await talks(near)
        known.ask("127.0.0.1")
        # Those that wait for the silent one have had their time by then.
        await far.until(
            lambda: any(
                "name resolution" in each["reason"] for each in far.named("connecting again")
            ),
            "the name does not resolve",
        )
        known.know("server.test", "ttp.test")
        await talks(far)
        refused = await server.event("CRL not fetched")
        assert "the TTP at ttp.test:8440 cannot be reached: " in refused["reason"]
        assert not near.named("connecting again")
        # One that is to end does not wait for a lookup that nobody answers.
        known.know()
        known.ask(SILENT)
        assert (await server.stop()).code == 0
        tries = len(far.named("connecting again"))
        await far.event("connecting again", count=tries + 2)
        far.signal(signal.SIGTERM)
        assert (await far.ended(within_s=SOON_S)).code == 0
        assert (await near.stop()).code == 0
        await asynctls.end()
