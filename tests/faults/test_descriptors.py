"""A process that may open no more files: it says so, goes on, and serves again when it may."""

from __future__ import annotations

import asyncio
import resource
import socket
import sys
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import asynctls as library
from asynctls.config import Address, TTPConfig
from asynctls.enrolment import join
from asynctls.errors import TTPUnreachableError
from asynctls.pki.keys import KeyType
from asynctls.ttp.authority import Authority
from tests.faults import fleet
from tests.faults.clocks import cpu_s

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asynctls import Session
    from tests.roles.processes import Daemons, Process

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux lets others set a process's limits"
)

BRIEFLY, LONG = timedelta(seconds=2), timedelta(seconds=30)


@contextmanager
def no_more_files(process: Process) -> Iterator[None]:
    """It can open none while the context lasts."""
    pid = process.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    # Its standard streams are these three, and whatever else is open stays so.
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


async def echoed(session: Session) -> None:
    await session.send(b"there?", receipt=True)
    assert await session.receive() == b"there?"


async def test_a_server_without_descriptors_goes_on_with_who_is_there(
    asynctls: Daemons, issued: Any
) -> None:
    server, address = await asynctls.server(
        await issued("server"), "--app", "echo", "--crl-interval", "1s"
    )
    at, identity = Address.parse(address), await issued("client")
    async with library.connect(address, server_name="server", identity=identity) as session:
        await echoed(session)
        logged, cpu = len(server.events), cpu_s(server)
        begun = asyncio.get_running_loop().time()
        with no_more_files(server):
            visitors = [socket.create_connection((at.host, at.port)) for _ in range(20)]
            refused = await server.event("CRL not fetched")
            await echoed(session)
            took = asyncio.get_running_loop().time() - begun
        assert "Too many open files" in refused["reason"]
        assert len(server.named("event loop")) <= 1
        assert len(server.events) - logged < 10
        # What cannot be accepted is not asked for without a pause.
        assert cpu_s(server) - cpu < 0.5 + 0.5 * took
        for each in visitors:
            each.close()
        async with library.connect(address, server_name="server", identity=identity) as another:
            await echoed(another)
        await server.event("CRL fetched again")
        await echoed(session)
    assert (await server.stop()).code == 0


@pytest.mark.one_loop
async def test_a_ttp_without_descriptors_records_nothing_and_issues_again_when_it_has_some(
    asynctls: Daemons, tmp_path: Path
) -> None:
    config, folder = TTPConfig(state=tmp_path / "ttp"), tmp_path / "client"
    ttp, at = await asynctls.ttp(config.state)
    join_string = await fleet.token(config, at, "client")
    with no_more_files(ttp):
        with pytest.raises(TTPUnreachableError):
            await join(folder, join_string, key_type=KeyType.ECDSA_P256, give_up_after=BRIEFLY)
        failed = await ttp.event("the TTP's own upkeep failed; it is tried again")
        assert "open files" in failed["reason"]
    await join(folder, join_string, key_type=KeyType.ECDSA_P256, give_up_after=LONG)
    await ttp.event("the TTP's own upkeep works again")
    assert len(ttp.named("the TTP's own upkeep failed; it is tried again")) == 1
    assert (await ttp.stop()).code == 0
    async with await Authority.beside(config) as authority:
        await authority.verify()
