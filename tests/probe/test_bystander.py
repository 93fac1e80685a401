"""What somebody who means no harm has of a server, as its p99."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import pytest

from asynctls.admission import Peer
from asynctls.probe.attack import Target
from asynctls.probe.bystander import Bystander
from asynctls.probe.clients import careless
from asynctls.probe.relays import listening

if TYPE_CHECKING:
    from asynctls.testing import CA

pytestmark = pytest.mark.one_loop


async def test_who_waits_for_its_first_connection_was_not_served_though_it_waits_for_a_moment(
    asynctls_ca: CA,
) -> None:
    came = asyncio.Event()

    async def be_silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read()

    client, server = asynctls_ca.identity("client"), asynctls_ca.identity("server")
    async with listening(be_silent) as address:
        target = Target(address, client, Peer.of(server.certificate), sessions=False)
        honest = await careless(target, client.store, certificate=client.certificate)
        bystander = Bystander(target, honest)
        connecting = asyncio.create_task(bystander.connect_again_and_again())
        await came.wait()
        assert (bystander.served, bystander.p99_s) == (0, math.inf)
        connecting.cancel()
        await asyncio.wait([connecting])
