"""SIGTERM under load: what had its receipt was taken, by one process as by several."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

import asynctls as library
from asynctls.errors import SessionError
from tests.roles.keeping import KEEPING, have_app, kept

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.enrolment import Identity
    from asynctls.testing import CA
    from tests.roles.processes import Daemons

pytestmark = pytest.mark.one_loop

CLIENTS = 20
LOAD = 400


@pytest.mark.parametrize("workers", [1, 2])
async def test_what_had_its_receipt_before_a_sigterm_is_kept(
    asynctls: Daemons, ca: CA, tmp_path: Path, workers: int
) -> None:
    home = tmp_path / "home"
    have_app(home)
    server, address = await asynctls.server(
        ca.identity("server"), *KEEPING, "--workers", str(workers)
    )
    receipted: list[bytes] = []
    loaded = asyncio.Event()
    # Who has not come in by the SIGTERM would not come in.
    all_in = asyncio.Barrier(CLIENTS)

    async def send_on(identity: Identity, number: int) -> None:
        """One message after another, until the server says that it drains."""
        connection = library.connect(address, server_name="server", identity=identity)
        with suppress(SessionError):
            async with connection as session:
                await all_in.wait()
                count = 0
                while not session.going_away:
                    message = b"%d of client %d" % (count, number)
                    await session.send(message, receipt=True)
                    receipted.append(message)
                    count += 1
                    if len(receipted) >= LOAD:
                        loaded.set()

    identity = ca.identity("client")
    async with asyncio.TaskGroup() as clients:
        for number in range(CLIENTS):
            clients.create_task(send_on(identity, number))
        async with asyncio.timeout(30):
            await loaded.wait()
        server.signal(signal.SIGTERM)
    assert (await server.ended()).code == 0
    assert not server.named("connections cut off")
    # Each once: nothing was lost, and nothing came twice.
    assert Counter(kept(home)) == Counter(receipted)
