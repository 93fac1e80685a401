"""Two machines on one cable, and what a cable can do to packets.

nft loses them, doubles them and cuts the cable. What this kind of kernel cannot do (tc's netem) is
left out: a delay is a relay's (`tests.faults.relays`).
"""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.faults.namespaces import machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.faults.namespaces import Machine

__all__ = ["HERE", "THERE", "Network", "network"]

HERE, THERE = "10.9.0.1", "10.9.0.2"


class Network:
    """Two machines, each at an address, and the cable between them."""

    def __init__(self, here: Machine, there: Machine) -> None:
        self.here = here
        self.there = there

    async def plug_in(self) -> None:
        """Lays the cable."""
        await self.here.does(f"ip link add cable type veth peer name cable netns {self.there.pid}")
        for each, address in ((self.here, HERE), (self.there, THERE)):
            await each.does(
                "ip link set lo up", f"ip addr add {address}/24 dev cable", "ip link set cable up"
            )

    async def lose(self, one_in: int) -> None:
        """Loses each so-many-th packet on its way in, at both ends."""
        await self._filter("ingress", f"numgen inc mod {one_in} == 0 drop")

    async def double(self, one_in: int) -> None:
        """Sends each so-many-th packet twice, at both ends."""
        await self._filter("egress", f"numgen inc mod {one_in} == 0 dup to cable")

    async def part(self) -> None:
        """Nothing goes through, and neither end is told."""
        await self._filter("ingress", "drop")

    async def mend(self) -> None:
        """All goes through again."""
        for each in (self.here, self.there):
            await each.does("nft flush ruleset")

    async def _filter(self, hook: str, rule: str) -> None:
        chain = f"{{ type filter hook {hook} device cable priority 0; }}"
        for each in (self.here, self.there):
            await each.does(
                "nft add table netdev cable",
                f"nft add chain netdev cable {hook} '{chain}'",
                f"nft add rule netdev cable {hook} {rule}",
            )


@asynccontextmanager
async def network() -> AsyncIterator[Network]:
    """Two machines and their cable; skips the test where they cannot be had."""
    missing = [name for name in ("ip", "nft") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"a network of our own needs {' and '.join(missing)}")
    async with machine("net") as here, machine("net", beside=here) as there:
        laid = Network(here, there)
        await laid.plug_in()
        yield laid
