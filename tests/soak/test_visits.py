"""Whoever has come and gone leaves nothing behind in the memory of a server of streams.

Half of the clients take no session tickets: for those OpenSSL keeps the session itself, 10 KiB
each, for as long as a context lives.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from asynctls.testing import CA
from tests.bench.contenders import python
from tests.bench.figures import Curve
from tests.bench.identities import Identities
from tests.bench.jobs import loading
from tests.bench.machine import resident_kib

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.one_loop,
    pytest.mark.timeout(0),
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from Linux's /proc"),
]

LOOKS = 20
# What an allocator keeps beside, and how far a context fills before the next takes its place.
SLACK_KIB = 4 << 10


async def test_memory_is_flat_however_many_come_and_go(
    tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    long = request.config.getoption("--long", default=False)
    visits = 200_000 if long else 1_000
    folder = tmp_path / "ca"
    folder.mkdir()
    ca = CA(folder)
    identities = Identities(
        "ecdsa-p256",
        server=ca.identity("server").folder,
        client=ca.identity("client").folder,
    )
    curve = Curve("memory of a server of streams", "KiB", "connections opened and closed")
    at_once = visits // LOOKS // 2
    async with (
        python("ours-greet", identities) as server,
        loading("tests.bench.load", identities.client) as job,
    ):
        for look in range(1, LOOKS + 1):
            for tickets in (True, False):
                await job(
                    "handshakes", port=server.port, count=at_once, resume=False, tickets=tickets
                )
            curve.add("asynctls", look * visits // LOOKS, resident_kib(server.pid))
    line = curve.line("asynctls")
    with capsys.disabled():
        sys.stdout.write("\n" + ", ".join(f"{size:,}: {kib:,.0f} KiB" for size, kib in line) + "\n")
    # A tenth fills what is made once: caches, the sessions of a context, what the allocator keeps.
    warm, last = line[LOOKS // 10 - 1], line[-LOOKS // 4 :]
    assert max(kib for _, kib in last) <= warm[1] + SLACK_KIB
