"""Enrolments: a certificate for a token and a CSR, durable before it is sent, over TLS that stays.

The TTP is its own command on the servers' core, with its log in a file; tokens and CSRs are made
beforehand. On SQLite, and on a PostgreSQL (on the load's core) with one TTP and with two: a second
TTP is a replica, restored from the first one's backup. fsyncs are counted by strace, in a round
that is not timed.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from asynctls.config import SecretText, TTPConfig
from asynctls.ttp.administration import Administration
from asynctls.ttp.backup import back_up, restore
from tests.bench.contenders import Kind
from tests.bench.enrolments import prepared
from tests.bench.figures import Table, Target
from tests.bench.jobs import Job, loading
from tests.bench.machine import LOADING, cpu_s, pinned, tree
from tests.bench.processes import PATIENCE_S, running
from tests.postgresql import PostgreSQL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.bench.contenders import Contender
    from tests.bench.identities import Identities
    from tests.bench.scenarios import Size

__all__ = ["issuing"]

CLIENTS = 16
SQLITE, ONE, TWO = "asynctls", "asynctls on PostgreSQL", "two asynctls on PostgreSQL"
_ABSENT = ("step-ca",)
_KeyType = Literal["ecdsa-p256", "rsa-3072"]


@dataclass(frozen=True, slots=True)
class _TTPs:
    """One TTP, or several on one ledger."""

    name: str
    config: TTPConfig
    processes: Sequence[Contender]

    async def round(self, job: Job, count: int, *, clients: int) -> dict[str, float]:
        """So many enrolments: what the load says, and the processor time of each."""
        requests = self.config.state.with_suffix(".requests")
        async with await Administration.beside(self.config) as authority:
            await prepared(authority, count, requests)
        before = self._cpu_s()
        ports = [each.port for each in self.processes]
        done = await job("enrol", ports=ports, clients=clients, requests=str(requests))
        return done | {"cpu_s": (self._cpu_s() - before) / done["count"]}

    def _cpu_s(self) -> float:
        return sum(cpu_s(each.pid) for each in self.processes)


def _kind(name: str, config: TTPConfig) -> Kind:
    words = [
        *("--state", str(config.state), "--root-key-type", config.root_key_type),
        *("--issuing-key-type", config.issuing_key_type),
    ]
    if config.ledger is not None:
        words += ("--ledger", config.ledger.reveal())

    def command(
        port: int, identities: Identities, behind: int, folder: Path
    ) -> list[list[str | Path]]:
        del identities, behind
        logged = ("sh", "-c", 'exec "$@" 2>"$0"', folder / "log")
        listen = ("--listen", f"127.0.0.1:{port}")
        return [[*logged, sys.executable, "-m", "asynctls", "ttp", *words, *listen]]

    return Kind(name, command)


class _Scene:
    """Starts TTPs; they end with the stack."""

    def __init__(self, stack: AsyncExitStack, identities: Identities, scratch: Path) -> None:
        self._stack = stack
        self._identities = identities
        self._scratch = scratch

    async def ttp(self, name: str, key_type: _KeyType, ledger: SecretText | None = None) -> _TTPs:
        """One, new."""
        await asyncio.to_thread(self._scratch.mkdir, parents=True, exist_ok=True)
        config = TTPConfig(
            state=self._scratch / f"{name} {key_type}".replace(" ", "-"),
            ledger=ledger,
            root_key_type=key_type,
            issuing_key_type=key_type,
        )
        return _TTPs(name, config, [await self._process(name, config)])

    async def with_replica(self, first: _TTPs, name: str) -> _TTPs:
        """It, and another on the same ledger."""
        folder = first.config.state.with_suffix(".replica")
        config = TTPConfig(state=folder, ledger=first.config.ledger)
        backup = folder.with_suffix(".backup")
        await back_up(first.config, backup, passphrase=None)
        await restore(config, backup, passphrase=None)
        process = await self._process(name, config)
        return _TTPs(name, first.config, [*first.processes, process])

    async def _process(self, name: str, config: TTPConfig) -> Contender:
        kind = _kind(name, config)
        return await self._stack.enter_async_context(
            kind.running(self._identities, 0, config.state.parent)
        )


async def issuing(identities: Identities, scratch: Path, size: Size) -> list[Table]:
    """Enrolments by token, each with a commit that it shares with those who wait as well."""
    of = f"P-256 issuer, {CLIENTS} clients"
    cost = Table(
        f"enrolment, {of}",
        "ms CPU",
        targets=(
            Target("at most 0.45 ms", SQLITE, None, 0.45),
            Target("two TTPs at most 1.1 of one", TWO, ONE, 1.1),
        ),
        absent=_ABSENT,
    )
    rate = Table(
        f"enrolments of a core, {of}",
        "a second",
        more_is_better=True,
        targets=(Target("at least 2,000", SQLITE, None, 2000, at_least=True),),
        absent=_ABSENT,
    )
    late = Table(
        f"slowest enrolment in a hundred, {of}",
        "ms",
        targets=(Target("below 25 ms", SQLITE, None, 25.0),),
        absent=_ABSENT,
    )
    rsa = Table(
        f"enrolment, RSA-3072 issuer, {CLIENTS} clients",
        "ms CPU",
        targets=(Target("at most 1.25 ms", SQLITE, None, 1.25),),
        absent=_ABSENT,
    )
    alone = Table(
        "enrolment, P-256 issuer, one client alone",
        "ms",
        targets=(Target("at most 1.3 ms", SQLITE, None, 1.3),),
        absent=_ABSENT,
    )
    async with AsyncExitStack() as stack:
        scene = _Scene(stack, identities, scratch)
        with pinned(LOADING):
            server = stack.enter_context(PostgreSQL(fsync="on"))
        url = SecretText(stack.enter_context(server.database()).url)
        job = await stack.enter_async_context(loading("tests.bench.enrolments"))
        ours = await scene.ttp(SQLITE, "ecdsa-p256")
        ours_rsa = await scene.ttp(SQLITE, "rsa-3072")
        one = await scene.ttp(ONE, "ecdsa-p256", url)
        two = await scene.with_replica(one, TWO)
        for _ in range(size.rounds):
            for ttps in (ours, one, two):
                done = await ttps.round(job, size.of(4000), clients=CLIENTS)
                cost.add(ttps.name, done["cpu_s"] * 1e3)
                rate.add(ttps.name, done["count"] / done["seconds"])
                late.add(ttps.name, done["p99_s"] * 1e3)
            done = await ours_rsa.round(job, size.of(4000), clients=CLIENTS)
            rsa.add(SQLITE, done["cpu_s"] * 1e3)
            for ttps in (ours, one):
                done = await ttps.round(job, size.of(1000), clients=1)
                alone.add(ttps.name, done["seconds"] / done["count"] * 1e3)
        synced = await _syncs(ours, job, size.of(4000), scratch)
    return [cost, rate, late, rsa, alone, synced]


async def _syncs(ttps: _TTPs, job: Job, count: int, scratch: Path) -> Table:
    table = Table(
        f"enrolment's share of fsyncs, P-256 issuer, {CLIENTS} clients",
        "of one fsync",
        targets=(Target("well below one", SQLITE, None, 0.5),),
        absent=_ABSENT,
    )
    if shutil.which("strace") is None:
        return table
    async with _traced(ttps.processes[0].pid, scratch / "syncs") as seen:
        done = await ttps.round(job, count, clients=CLIENTS)
    table.add(SQLITE, len(seen) / done["count"])
    return table


def _is_traced(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task").glob("*/status")
    return not any("TracerPid:\t0\n" in each.read_text() for each in threads)


@asynccontextmanager
async def _traced(pid: int, into: Path) -> AsyncIterator[list[str]]:
    """What a program and its threads sync to disk; the list is filled at the end."""
    seen: list[str] = []
    words = ("strace", "-f", "-e", "trace=fsync,fdatasync", "-o", into)
    attach = [word for each in tree(pid) for word in ("-p", str(each))]
    async with running(*words, *attach, cores=LOADING) as process:
        async with asyncio.timeout(PATIENCE_S):
            while not all(map(_is_traced, tree(pid))):  # noqa: ASYNC110 - strace does not say
                await asyncio.sleep(0.05)
        yield seen
        process.terminate()
        await process.wait()
    seen += re.findall("sync", await asyncio.to_thread(into.read_text))
