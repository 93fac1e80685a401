"""A database behind tunnels whose certificates of ten seconds renew under the load.

At once: tunnels of plain TLS and with sessions; a connection for each transaction, which has the
certificate of its moment, and connections that last, which are kept beyond theirs.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.ports import free_port
from tests.roles.tunnelling import pgbench_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgresql import Database
    from tests.roles.processes import Daemons

pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(180)]

# Transactions a second: with certificates as short, none may wait long for a processor.
RATE = "10"
NONE_FAILED = "number of failed transactions: 0 "


def tunnels(role: str, head: str, *tables: dict[str, str]) -> str:
    """A config of one role with several tunnels."""
    rows = ("\n".join(f"{key} = {value}" for key, value in table.items()) for table in tables)
    return "\n".join((f"[{role}]", head, *(f"[[{role}.tunnel]]\n{row}" for row in rows)))


async def test_certificates_renew_under_a_database_s_load_without_an_error(
    request: pytest.FixtureRequest,
    # The database first, so that it outlives what is connected to it.
    postgres: Database,
    asynctls: Daemons,
    ttp: Any,
    tmp_path: Path,
) -> None:
    long = request.config.getoption("--long", default=False)
    # What begins just before a renewal has a third of a lifetime to end: among other tests it needs
    # more of it. All that is begun with outlives its certificate while the load lasts.
    seconds, lifetime = (60, timedelta(seconds=10)) if long else (21, timedelta(seconds=18))
    direct = f"127.0.0.1:{postgres.server.port}"
    await pgbench_of(postgres, direct)("-i", "-q", "-s", "1")
    ways = [(way, live) for way in ("false", "true") for live in ("end", "keep")]
    at = {each: (free_port(), free_port()) for each in ways}
    common = {each: {"session": each[0], "live_after_expiry": f'"{each[1]}"'} for each in ways}
    config = tmp_path / "server.toml"
    config.write_text(
        tunnels(
            "server",
            'allow = ["client"]',
            *(
                common[each]
                | {"listen": f'"127.0.0.1:{at[each][1]}"', "app": f'"forward:{direct}"'}
                for each in ways
            ),
        )
    )
    config = config.with_name("client.toml")
    config.write_text(
        tunnels(
            "client",
            'server_name = "server"',
            *(
                common[each]
                | {"listen": f'"127.0.0.1:{at[each][0]}"', "connect": f'"127.0.0.1:{at[each][1]}"'}
                for each in ways
            ),
        )
    )
    roles = []
    for role in ("server", "client"):
        # Which it joins with once it has started, however long that takes on a busy machine.
        token = await ttp.token(role, lifetime=lifetime)
        words = ("--state", tmp_path / role, "--config", tmp_path / f"{role}.toml")
        # The load is what it is about, and not asyncio's looking closely.
        environ = {"PYTHONASYNCIODEBUG": "0", "ASYNCTLS_JOIN": token.format()}
        roles.append(
            await asynctls.start(role, *words, "--key-type", "ecdsa-p256", environ=environ)
        )
        await roles[-1].event("listening", count=len(ways))
    for each in roles:
        # Starting took of the first one's time: the load begins with one that has its own ahead.
        await each.event("certificate renewed")
    reports = await asyncio.gather(
        *(
            pgbench_of(postgres, f"127.0.0.1:{at[way, live][0]}")(
                *(("-C",) if live == "end" else ()),
                *("-n", "-N", "-c", "2", "-T", str(seconds), "-R", RATE),
                patience_s=seconds + 60,
            )
            for way, live in ways
        )
    )
    for report in reports:
        assert NONE_FAILED in report
        assert "aborted" not in report
    for each in roles:
        assert len(each.named("certificate renewed")) > 1
        assert each.named("certificate outlived")
        assert not each.named("connection failed")
        assert not each.named("refused")
