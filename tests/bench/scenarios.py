"""What is measured: each scenario runs its contenders in interleaved rounds, and gives tables."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench.contenders import ANSWERING, FORWARDING, PAIRS, Contender, backend, python
from tests.bench.figures import Curve, Table, Target
from tests.bench.growing import growth
from tests.bench.issuing import issuing
from tests.bench.jobs import Job, loading
from tests.bench.machine import cpu_s, resident_kib
from tests.bench.starting import start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.bench.contenders import Backend, Kind
    from tests.bench.identities import Identities

__all__ = ["SCENARIOS", "Size"]

OURS, NGINX, PROXY, UVLOOP = "asynctls", "nginx return", "nginx proxy_pass", "uvloop ssl="


@dataclass(frozen=True, slots=True)
class Size:
    """How much: rounds, and by what everything else is divided."""

    rounds: int
    share: int
    held: tuple[int, ...]

    def of(self, count: int) -> int:
        """So many in a full run."""
        return max(count // self.share, 8)


def _load(identities: Identities) -> AbstractAsyncContextManager[Job]:
    return loading("tests.bench.load", identities.client)


async def _started(
    stack: AsyncExitStack,
    kinds: Sequence[Kind],
    identities: Identities,
    behind: int,
    scratch: Path,
) -> tuple[list[Contender], tuple[str, ...]]:
    """Those that are here, running; the names of those that are not."""
    running = [
        await stack.enter_async_context(kind.running(identities, behind, scratch))
        for kind in kinds
        if not kind.absent
    ]
    return running, tuple(kind.name for kind in kinds if kind.absent)


async def _stock(stack: AsyncExitStack, kind: str, identities: Identities) -> list[Contender]:
    return [
        await stack.enter_async_context(python(kind, identities, loop=loop, name=f"{loop} ssl="))
        for loop in ("uvloop", "asyncio")
    ]


async def _cost(contender: Contender, work: Awaitable[dict[str, float]]) -> tuple[float, float]:
    """Microseconds of the server's processor, and of the clock, for each that the work counts."""
    before = cpu_s(contender.pid)
    done = await work
    return (
        (cpu_s(contender.pid) - before) / done["count"] * 1e6,
        done["seconds"] / done["count"] * 1e6,
    )


async def handshakes(identities: Identities, scratch: Path, size: Size) -> list[Table]:
    """Handshakes of those who answer by themselves, and of those who pass on."""
    key = identities.key_type
    full = Table(
        f"full handshake, {key}, answered",
        "µs CPU",
        targets=(
            Target("at most nginx's", OURS, NGINX, 1.0),
            Target("below uvloop's own TLS", OURS, UVLOOP, 1.0),
            Target("below asyncio's own TLS", OURS, "asyncio ssl=", 1.0),
        ),
    )
    resumed = Table(
        f"resumed handshake, {key}, answered",
        "µs CPU",
        targets=(Target("at most 1.15 of nginx's", OURS, NGINX, 1.15),),
    )
    async with AsyncExitStack() as stack:
        job = await stack.enter_async_context(_load(identities))
        running, full.absent = await _started(stack, ANSWERING, identities, 0, scratch)
        running += await _stock(stack, "stock-greet", identities)
        running.append(await stack.enter_async_context(python("ours-greet", identities, name=OURS)))
        count = size.of(800)
        for _ in range(size.rounds):
            for each in running:
                for table, resume in ((full, False), (resumed, True)):
                    work = job("handshakes", port=each.port, count=count, resume=resume)
                    table.add(each.name, (await _cost(each, work))[0])
    return [full, resumed]


async def forwarding(identities: Identities, scratch: Path, size: Size) -> list[Table]:
    """Handshakes of those who end TLS before a program that speaks none."""
    ours = "asynctls forward"
    peers = [kind.name for kind in FORWARDING if kind.name not in (ours, PROXY)]
    full = Table(
        f"full handshake, {identities.key_type}, passed on",
        "µs CPU",
        targets=(
            Target("at most nginx's", ours, PROXY, 1.0),
            *(Target(f"below {peer}", ours, peer, 1.0) for peer in peers),
        ),
    )
    async with AsyncExitStack() as stack:
        behind = await stack.enter_async_context(backend())
        job = await stack.enter_async_context(_load(identities))
        running, full.absent = await _started(
            stack, FORWARDING, identities, behind.greeter, scratch
        )
        for _ in range(size.rounds):
            for each in running:
                work = job("handshakes", port=each.port, count=size.of(800), resume=False)
                full.add(each.name, (await _cost(each, work))[0])
    return [full]


async def memory(identities: Identities, scratch: Path, size: Size) -> list[Table]:
    """What an idle connection holds in memory."""
    tables = []
    for count in size.held:
        table = Table(
            f"memory of an idle connection, {count:,} held",
            "KiB",
            targets=(
                Target("at most 26 KiB", OURS, None, 26),
                Target("at most 32 KiB for a session", "asynctls session", None, 32),
            ),
        )
        async with AsyncExitStack() as stack:
            behind = await stack.enter_async_context(backend())
            running, table.absent = await _started(
                stack, FORWARDING[1:], identities, behind.echo, scratch
            )
            running += await _stock(stack, "stock-echo", identities)
            running.append(
                await stack.enter_async_context(python("ours-echo", identities, name=OURS))
            )
            running.append(
                await stack.enter_async_context(
                    python("session-echo", identities, name="asynctls session")
                )
            )
            for each in running:
                job = await stack.enter_async_context(_load(identities))
                kind = "hold_sessions" if each.name == "asynctls session" else "hold"
                await job(kind, port=each.port, count=20)
                before = resident_kib(each.pid)
                await job(kind, port=each.port, count=count)
                table.add(each.name, (resident_kib(each.pid) - before) / count)
                await job("release")
        tables.append(table)
    return tables


async def messages(identities: Identities, scratch: Path, size: Size) -> list[Table]:
    """Messages in a session, beside the same bytes over uvloop's own TLS without any MAC."""
    tables = []
    session = "asynctls session"
    async with AsyncExitStack() as stack:
        job = await stack.enter_async_context(_load(identities))
        stock = await _stock(stack, "stock-echo", identities)
        ours = await stack.enter_async_context(python("ours-echo", identities, name=OURS))
        sessions = await stack.enter_async_context(python("session-echo", identities, name=session))
        kinds = [*((each, "tls") for each in (*stock, ours)), (sessions, "session")]
        for each, kind in kinds:
            # Until uvloop's own TLS has had a connection that ended, it has the system map and
            # unmap its buffer for each message, which doubles what a message costs it.
            await job("talk", port=each.port, kind=kind, at_once=8)
        for octets, at_once in ((32, 1), (32, 8), (1024, 1), (1024, 8)):
            # One at a time, a server may sleep between two. Of eight something is always at hand.
            table = Table(
                f"round trip of {octets} B, {at_once} under way",
                "µs CPU",
                targets=(Target("at most 1.25 of plain TLS", session, UVLOOP, 1.25),),
            )
            for _ in range(size.rounds):
                for each, kind in kinds:
                    await job("talk", port=each.port, kind=kind, at_once=at_once)
                    work = job("round_trips", count=size.of(4000), size=octets)
                    table.add(each.name, (await _cost(each, work))[0])
            tables.append(table)
        bulk = Table(
            "bulk there and back, 64 KiB pieces",
            "ns CPU a byte",
            targets=(
                Target("with MACs at most twice plain TLS", session, UVLOOP, 2.0),
                Target("without MACs at most 1 / 0.9 of it", OURS, UVLOOP, 1 / 0.9),
            ),
        )
        for _ in range(size.rounds):
            for each in (*stock, ours):
                work = job("bulk", port=each.port, octets=size.of(512) << 20, plain=False)
                bulk.add(each.name, (await _cost(each, work))[0] * 1e3)
            work = job("session_bulk", port=sessions.port, octets=size.of(512) << 20)
            bulk.add(session, (await _cost(sessions, work))[0] * 1e3)
        tables.append(bulk)
        tables.append(await _pipelined(stack, job, identities, size))
    return tables


async def _pipelined(stack: AsyncExitStack, job: Job, identities: Identities, size: Size) -> Table:
    table = Table(
        "messages of 32 B in one direction, without receipts",
        "a second of one core",
        more_is_better=True,
        targets=(
            Target("at least 200,000 sent", "sent", None, 200_000, at_least=True),
            Target("at least 200,000 received", "received", None, 200_000, at_least=True),
        ),
    )
    for name, kind, do in (
        ("sent", "session-flood", "session_flooded"),
        ("received", "session-sink", "session_flood"),
    ):
        server = await stack.enter_async_context(python(kind, identities, name=name))
        for _ in range(size.rounds):
            work = job(do, port=server.port, count=size.of(400_000), size=32)
            table.add(name, 1e6 / (await _cost(server, work))[0])
    return table


async def pairs(identities: Identities, scratch: Path, size: Size) -> list[Table]:
    """Both halves of a tunnel on one core."""
    ours, haproxy = "asynctls pair", "haproxy pair"

    def table(title: str, unit: str, words: str, limit: float) -> Table:
        return Table(title, unit, targets=(Target(words, ours, haproxy, limit),))

    bulk = table("tunnel, bulk", "ns CPU a byte", "at most 1.15 of haproxy's", 1.15)
    wall = table("tunnel, 32 B there and back", "µs", "at most haproxy's", 1.0)
    connect = table("tunnel, connect and one message", "µs CPU", "at most haproxy's", 1.0)
    async with AsyncExitStack() as stack:
        behind: Backend = await stack.enter_async_context(backend())
        job = await stack.enter_async_context(_load(identities))
        echoes, absent = await _started(stack, PAIRS, identities, behind.echo, scratch / "echo")
        greeters, _ = await _started(stack, PAIRS, identities, behind.greeter, scratch / "greet")
        bulk.absent = wall.absent = connect.absent = absent
        for each in (*echoes, *greeters):
            await job("reach", port=each.port)
        for _ in range(size.rounds):
            for echo, greeter in zip(echoes, greeters, strict=True):
                octets = size.of(256) << 20
                work = job("bulk", port=echo.port, octets=octets, plain=True)
                bulk.add(echo.name, (await _cost(echo, work))[0] * 1e3)
                await job("talk", port=echo.port, kind="plain")
                work = job("round_trips", count=size.of(4000), size=32)
                wall.add(echo.name, (await _cost(echo, work))[1])
                work = job("plain_greetings", port=greeter.port, count=size.of(400))
                connect.add(greeter.name, (await _cost(greeter, work))[0])
    return [bulk, wall, connect]


SCENARIOS: dict[str, Callable[[Identities, Path, Size], Awaitable[Sequence[Table | Curve]]]] = {
    "handshakes": handshakes,
    "forwarding": forwarding,
    "memory": memory,
    "messages": messages,
    "pairs": pairs,
    "start": start,
    "issuing": issuing,
    "growth": growth,
}
"""By the names that the command line knows. The handshakes are run for both kinds of key."""
