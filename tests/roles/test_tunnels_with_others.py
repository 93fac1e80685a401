"""Each half of a tunnel against programs that nobody here wrote, and such programs through it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.ports import free_port
from tests.roles.tunnelling import (
    Backend,
    Others,
    answer_at_the_end,
    answer_each,
    answer_to,
    asked,
    asked_for,
    client_half,
    pgbench_of,
    ran,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from asynctls.testing import CA
    from tests.postgresql import Database
    from tests.roles.processes import Daemons

WAYS = [
    pytest.param(answer_at_the_end, asked, 10, id="half-close"),
    pytest.param(answer_each, asked_for, 3_000_000, id="much"),
]


@pytest.fixture
async def others(tmp_path: Path, program: Callable[[str], Path]) -> AsyncIterator[Others]:
    folder = tmp_path / "others"
    folder.mkdir()
    async with AsyncExitStack() as stack:
        yield Others(folder, program, stack)


# stunnel 5.68 itself drops the rest of a long answer, now and then, when the client ended first (it
# logs fewer bytes than it read): what ends first is short here, and what is long waits for its end.


@pytest.mark.parametrize("other", ["stunnel", "haproxy"])
@pytest.mark.parametrize(("serve", "ask", "size"), WAYS)
async def test_the_client_half_can_be_another_program(
    asynctls: Daemons, ca: CA, others: Others, other: str, serve: Any, ask: Any, size: int
) -> None:
    content = bytes(size)
    async with Backend(serve).at() as backend:
        server, address = await asynctls.server(
            ca.identity("server"), "--app", f"forward:{backend}"
        )
        port = free_port()
        await getattr(others, other)(
            ca.identity("client"), accept=port, connect=address, client=True
        )
        assert await ask(f"127.0.0.1:{port}", content) == answer_to(content)
        ended = await server.event("stream ended")
        assert ended["reason"] == "both ends closed it"
        assert str(ended["peer"]).startswith("client ")


@pytest.mark.parametrize("other", ["stunnel", "haproxy"])
@pytest.mark.parametrize(("serve", "ask", "size"), WAYS)
async def test_the_server_half_can_be_another_program(
    asynctls: Daemons, ca: CA, others: Others, other: str, serve: Any, ask: Any, size: int
) -> None:
    content = bytes(size)
    async with Backend(serve).at() as backend:
        port = free_port()
        await getattr(others, other)(
            ca.identity("server"), accept=port, connect=backend, client=False
        )
        client, where = await client_half(asynctls, ca.identity("client"), f"127.0.0.1:{port}")
        assert await ask(where, content) == answer_to(content)
        await client.event("stream ended")


NONE_FAILED = "number of failed transactions: 0 "


@pytest.mark.parametrize("session", [(), ("--session",)], ids=["plain", "session"])
async def test_a_database_is_served_through_a_tunnel(
    asynctls: Daemons, ca: CA, postgres: Database, session: tuple[str, ...]
) -> None:
    target = f"forward:127.0.0.1:{postgres.server.port}"
    server, address = await asynctls.server(ca.identity("server"), "--app", target, *session)
    client, where = await client_half(asynctls, ca.identity("client"), address, *session)
    pgbench = pgbench_of(postgres, where)
    ended, began = [f"{'session' if session else 'stream'} {word}" for word in ("ended", "started")]
    await pgbench_of(postgres, f"127.0.0.1:{postgres.server.port}")("-i", "-q", "-s", "1")
    # A connection for each transaction, four at once.
    assert NONE_FAILED in await pgbench("-C", "-c", "4", "-t", "5")
    assert NONE_FAILED in await pgbench("-c", "4", "-t", "25")
    await server.until(
        lambda: len(server.named(ended)) == len(server.named(began)),
        "the end of all",
    )
    ends = {str(each["reason"]) for each in server.named(ended)}
    assert ends == {"both ends closed it"}
    assert not client.named("connection failed")


@pytest.mark.parametrize("session", [(), ("--session",)], ids=["plain", "session"])
async def test_redis_is_served_through_a_tunnel(
    asynctls: Daemons,
    ca: CA,
    tmp_path: Path,
    others: Others,
    program: Callable[[str], Path],
    session: tuple[str, ...],
) -> None:
    path = tmp_path / "redis"
    await others.redis(path)
    target = f"forward:unix:{path}"
    _, address = await asynctls.server(ca.identity("server"), "--app", target, *session)
    local = f"unix:{tmp_path / 'local'}"
    _, where = await client_half(asynctls, ca.identity("client"), address, *session, listen=local)
    cli = (program("redis-cli"), "-s", where.removeprefix("unix:"))
    assert await ran(*cli, "set", "key", "x" * 100_000) == "OK\n"
    assert await ran(*cli, "get", "key") == "x" * 100_000 + "\n"
    assert "PONG" in await ran(*cli, "ping")
