"""The clock of a machine is set, forwards and back, while all three roles run on it.

What each part makes of that, by a clock of the test's own: tests/ttp/test_authority.py,
tests/enrolment/test_credentials.py, test_kept_by_another.py and test_renewal.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import asynctls as library
from asynctls.config import TTPConfig
from asynctls.enrolment import Identity
from asynctls.errors import HandshakeError
from tests.faults.clocks import Clock, cpu_s
from tests.faults.fleet import granted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.roles.processes import Daemons, Process

pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(120)]

OFTEN = ("--crl-interval", "2s")


class Talk:
    """A client's lines, each of which comes back."""

    def __init__(self, client: Process) -> None:
        self.client = client
        self.count = 0

    async def goes_on(self) -> None:
        self.count += 1
        await self.client.give(b"still there?\n")
        await self.client.received(self.count)


async def is_calm(*processes: Process) -> None:
    """None of them is busy with nothing."""
    before = [cpu_s(each) for each in processes]
    # A length of time is what this is about.
    await asyncio.sleep(1)
    used = [cpu_s(each) - was for each, was in zip(processes, before, strict=True)]
    assert max(used) < 0.7, used


async def test_a_clock_that_is_set_is_noticed_and_told_and_put_right_it_is_as_before(
    asynctls: Daemons, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("--long", default=False):
        pytest.skip("each look at a clock reads a file, which takes its time: 'make soak' runs it")
    clock = Clock(tmp_path)
    asynctls.variables.update(clock.variables(), PYTHONASYNCIODEBUG="0")
    ttp, at = await asynctls.ttp(tmp_path / "ttp")
    config = TTPConfig(state=tmp_path / "ttp")
    held = [await granted(config, at, tmp_path / name) for name in ("server", "client")]
    server, address = await asynctls.server(held[0], "--app", "echo", *OFTEN)
    client = await asynctls.client(held[1], address, "--follow", "--send", "-", *OFTEN, given=None)
    talk = Talk(client)
    await talk.goes_on()

    # Two thirds of a day are over: renewed, and whoever talks goes on.
    clock.set(18)
    for each in (server, client):
        await each.event("certificate renewed")
    await ttp.event("CRL current", count=2)
    await talk.goes_on()
    assert not client.named("connecting again")

    # Back: what was renewed is of the future. The sessions before it go on, and who comes is told.
    clock.set(0)
    for each in (server, client):
        early = await each.event("certificate not valid yet")
        assert early["level"] == "error"
        assert "clock" in early["advice"]
    await ttp.event("CRL current", count=3)
    await talk.goes_on()
    newcomer = library.connect(address, server_name="server", identity=held[1].folder)
    with pytest.raises(HandshakeError, match="is a clock wrong"):
        await newcomer.__aenter__()
    await is_calm(ttp, server, client)

    # Right again.
    clock.set(18)
    await ttp.event("CRL current", count=4)
    await server.event("CRL taken", count=len(server.named("CRL taken")) + 1)
    late = await asynctls.client(held[1], address, "--send", "-", given="hello\n")
    assert (await late.ended()).out == b"hello\n"

    # All has expired: the session ends by that, and it is told what to do.
    clock.set(60)
    ended = await client.event("session ended")
    assert " ended at " in ended["reason"] or "expired" in ended["reason"]
    for each in (server, client):
        told = await each.event("certificate ended")
        assert "asynctls ttp token" in told["advice"]
    await client.event("connecting again", count=2)
    await is_calm(ttp, server, client)
    for folder in held:
        assert Identity.load(folder.folder).name == folder.name
    for each in (client, server, ttp):
        assert (await each.stop()).code == 0
