"""A process that may have no more memory: it lives on, or ends with a word, and nothing is damaged.

Which of the two, and for whom, is a matter of chance; what is checked holds either way.
"""

from __future__ import annotations

import asyncio
import re
import resource
import sys
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import asynctls as library
from asynctls.config import TTPConfig
from asynctls.enrolment import Identity, join
from asynctls.errors import AsynctlsError
from asynctls.pki.keys import KeyType
from asynctls.ttp.authority import Authority
from tests.faults import fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynctls.testing import CA
    from tests.roles.processes import Daemons, Process

pytestmark = [
    pytest.mark.one_loop,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets others set limits"),
]

MIB = 1 << 20
BRIEFLY, LONG = timedelta(seconds=3), timedelta(seconds=30)
CLIENTS = 8


@contextmanager
def little_memory(process: Process, *, more: int) -> Iterator[None]:
    """It can have so many bytes more than it has, while the context lasts."""
    pid, unlimited = process.process.pid, resource.RLIM_INFINITY
    status = Path(f"/proc/{pid}/status").read_text()
    (kib,) = re.findall(r"VmSize:\s+(\d+) kB", status)
    resource.prlimit(pid, resource.RLIMIT_AS, (int(kib) * 1024 + more, unlimited))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_AS, (unlimited, unlimited))


async def ended_or_lives(process: Process) -> bool:
    """Whether it lives on; if it has ended, then with a word."""
    with suppress(TimeoutError):
        async with asyncio.timeout(2):
            await process.process.wait()
    lives = process.process.returncode is None
    if not lives:
        ended = await process.ended()
        assert ended.code != 0
        # From where memory cannot be had without a word, there is only a signal.
        assert ended.code < 0 or ended.said[-1].startswith("asynctls: out of memory"), ended.said
    # Short of memory, what nobody foresaw is told with a traceback.
    process.events.clear()
    process.said.clear()
    return lives


async def echoed(address: str, identity: Identity, message: bytes) -> None:
    async with library.connect(address, server_name="server", identity=identity) as session:
        await session.send(message, receipt=True)
        assert await session.receive() == message


async def test_a_server_short_of_memory_serves_again_or_can_be_started_again(
    asynctls: Daemons, ca: CA
) -> None:
    held, identity = ca.identity("server"), ca.identity("client")
    server, address = await asynctls.server(held, "--app", "echo")
    await echoed(address, identity, b"before")
    with little_memory(server, more=8 * MIB):
        floods = (echoed(address, identity, bytes(15 * MIB)) for _ in range(4))
        how = await asyncio.gather(*floods, return_exceptions=True)
        assert all(isinstance(each, AsynctlsError) for each in how), how
    if not await ended_or_lives(server):
        await asynctls.server(held, "--app", "echo", "--listen", address)
    await echoed(address, identity, b"after")


async def test_a_ttp_short_of_memory_damages_no_ledger(asynctls: Daemons, tmp_path: Path) -> None:
    config = TTPConfig(state=tmp_path / "ttp")
    ttp, at = await asynctls.ttp(config.state)
    names = [f"client{number}" for number in range(CLIENTS)]
    tokens = [await fleet.token(config, at, name) for name in names]

    async def joined(number: int, within: timedelta) -> Identity:
        return await join(
            tmp_path / names[number],
            tokens[number],
            key_type=KeyType.ECDSA_P256,
            give_up_after=within,
        )

    with little_memory(ttp, more=MIB):
        how = await asyncio.gather(
            *(joined(number, BRIEFLY) for number in range(CLIENTS)), return_exceptions=True
        )
    assert all(isinstance(each, (Identity, AsynctlsError)) for each in how), how
    if not await ended_or_lives(ttp):
        await asynctls.ttp(config.state, "--listen", at)
    serials = {
        each.serial if isinstance(each, Identity) else (await joined(number, LONG)).serial
        for number, each in enumerate(how)
    }
    async with await Authority.beside(config) as authority:
        await authority.verify()
        assert {each.serial for each in await authority.list_certificates()} == serials
