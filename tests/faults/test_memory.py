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
    from collections.abc import Awaitable, Callable, Iterator

    from asynctls.testing import CA
    from tests.roles.processes import Daemons, Process

pytestmark = [
    pytest.mark.one_loop,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets others set limits"),
]

MIB = 1 << 20
BRIEFLY, LONG = timedelta(seconds=3), timedelta(seconds=30)
CLIENTS = 8
PAUSE_S = 0.1


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


async def lives(process: Process, work: Callable[[], Awaitable[object]]) -> bool:
    """Whether it does its work again; else it has ended, with a word."""
    end = asyncio.create_task(process.process.wait())
    try:
        while not end.done():
            with suppress(AsynctlsError):
                await work()
                return True
            await asyncio.wait((end,), timeout=PAUSE_S)
        ended = await process.ended()
        assert ended.code != 0
        # From where memory cannot be had without a word, there is only a signal.
        assert ended.code < 0 or ended.said[-1].startswith("asynctls: out of memory"), ended.said
        return False
    finally:
        end.cancel()
        # Short of memory, what nobody foresaw is told with a traceback.
        process.events.clear()
        process.said.clear()


async def test_a_server_short_of_memory_serves_again_or_can_be_started_again(
    asynctls: Daemons, ca: CA
) -> None:
    held, identity = ca.identity("server"), ca.identity("client")
    server, address = await asynctls.server(held, "--app", "echo")

    async def echoed(message: bytes = b"hello") -> None:
        async with library.connect(address, server_name="server", identity=identity) as session:
            await session.send(message, receipt=True)
            assert await session.receive() == message

    await echoed()
    with little_memory(server, more=8 * MIB):
        how = await asyncio.gather(
            *(echoed(bytes(15 * MIB)) for _ in range(4)), return_exceptions=True
        )
    assert any(isinstance(each, AsynctlsError) for each in how)
    assert all(each is None or isinstance(each, AsynctlsError) for each in how), how
    if not await lives(server, echoed):
        await asynctls.server(held, "--app", "echo", "--listen", address)
        await echoed()


async def test_a_ttp_short_of_memory_damages_no_ledger(asynctls: Daemons, tmp_path: Path) -> None:
    config = TTPConfig(state=tmp_path / "ttp")
    ttp, at = await asynctls.ttp(config.state)
    names = [f"client{number}" for number in range(CLIENTS)]
    tokens = {name: await fleet.token(config, at, name) for name in names}

    async def joined(name: str, within: timedelta = BRIEFLY) -> Identity:
        return await join(
            tmp_path / name, tokens[name], key_type=KeyType.ECDSA_P256, give_up_after=within
        )

    first, *others = names
    with little_memory(ttp, more=MIB):
        how = await asyncio.gather(*map(joined, others), return_exceptions=True)
    assert all(isinstance(each, (Identity, AsynctlsError)) for each in how), how
    if not await lives(ttp, lambda: joined(first)):
        await asynctls.ttp(config.state, "--listen", at)
        await joined(first)
    for name, each in zip(others, how, strict=True):
        if not isinstance(each, Identity):
            await joined(name, LONG)
    async with await Authority.beside(config) as authority:
        await authority.verify()
        listed = {each.serial for each in await authority.list_certificates()}
    assert listed == {Identity.load(tmp_path / name).serial for name in names}
