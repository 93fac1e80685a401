"""TTPs are killed under load, again and again: each client ends with exactly one certificate."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from itertools import cycle
from typing import TYPE_CHECKING

import pytest

from asynctls.config import Address, SecretText, TTPConfig
from asynctls.enrolment import JoinString, join
from asynctls.errors import TTPUnreachableError
from asynctls.pki.keys import KeyType
from asynctls.pki.profiles import Profile
from asynctls.ttp.authority import Authority
from tests.ports import free_port
from tests.soak.balancer import balancing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asynctls.enrolment import Identity
    from tests.postgresql import Database
    from tests.roles.processes import Daemons, Process
    from tests.soak.conftest import Size

pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(0)]

HOURS = timedelta(hours=1)
# The long form is about the TTP and not about asyncio's looking closely.
QUICK = {"PYTHONASYNCIODEBUG": "0"}


class Replica:
    """One TTP that is killed and started again on the same port."""

    def __init__(self, asynctls: Daemons, folder: Path, *words: str) -> None:
        self.config = TTPConfig(state=folder)
        self.kills = 0
        self._asynctls = asynctls
        self._words = words
        self._process: Process | None = None
        self.address = Address("127.0.0.1", free_port())

    async def start(self) -> None:
        self._process = await self._asynctls.start(
            *("ttp", "--state", self.config.state, "--listen", str(self.address)),
            *("--root-key-type", "ecdsa-p256", "--issuing-key-type", "ecdsa-p256"),
            *self._words,
            environ=QUICK,
        )
        await self._process.event("listening")

    async def kill(self) -> None:
        assert self._process is not None
        await self._process.kill()
        self.kills += 1


async def killing(replicas: list[Replica], size: Size) -> None:
    """Each in turn: killed without a word once it was up that long, and started again."""
    for kills, replica in enumerate(cycle(replicas)):
        if kills >= size.kills:
            return
        await asyncio.sleep(size.uptime_s)
        await replica.kill()
        await replica.start()


async def tokens(authority: Authority, count: int, address: Address) -> AsyncIterator[JoinString]:
    for number in range(count):
        token_id, secret = await authority.create_token(
            f"client{number}", profile=Profile.CLIENT, ttl=HOURS, lifetime=HOURS
        )
        yield JoinString(token_id, secret, address, f"client{number}", authority.root_sha256)


async def all_joined(folder: Path, joins: list[JoinString], at_a_time: int) -> list[Identity]:
    gate = asyncio.Semaphore(at_a_time)

    async def joined(join_string: JoinString) -> Identity:
        assert join_string.name is not None
        # Impatient: each try is a new run of the client, with what the last one left on its disk.
        while True:
            with suppress(TTPUnreachableError):
                async with gate:
                    return await join(
                        folder / join_string.name,
                        join_string,
                        key_type=KeyType.ECDSA_P256,
                        give_up_after=timedelta(seconds=3),
                    )

    return await asyncio.gather(*map(joined, joins))


async def soaked(
    replicas: list[Replica],
    config: TTPConfig,
    address: Address,
    size: Size,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Everybody joins while the replicas are killed in turn; then the ledger is held against it."""
    async with await Authority.beside(config) as authority:
        joins = [each async for each in tokens(authority, size.enrolments, address)]
        begun = time.monotonic()
        # A killer that fails, as when a TTP does not start again, ends the run: nobody would join.
        async with asyncio.TaskGroup() as tasks:
            killer = tasks.create_task(killing(replicas, size))
            identities = await all_joined(folder, joins, size.at_a_time)
            took = time.monotonic() - begun
            killer.cancel()
        await authority.verify()
        listed = await authority.list_certificates()
    kills = sum(replica.kills for replica in replicas)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(identities)} enrolments in {took:.1f} s ({len(identities) / took:.0f}/s) "
            f"through {kills} kills "
        )
    assert kills > 0
    held = {each.name: each.serial for each in identities}
    assert len(held) == size.enrolments
    assert {each.name: each.serial for each in listed} == held
    assert Counter(each.status for each in listed) == {"valid": size.enrolments}
    assert len({each.serial for each in listed}) == size.enrolments


async def test_each_client_has_one_certificate_though_the_ttp_is_killed(
    asynctls: Daemons, size: Size, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ttp = Replica(asynctls, tmp_path / "ttp")
    await ttp.start()
    await soaked([ttp], ttp.config, ttp.address, size, tmp_path, capsys)


async def test_each_client_has_one_certificate_though_replicas_are_killed(
    # The database first, so that it outlives the TTPs, which end with their fixture.
    postgres: Database,
    asynctls: Daemons,
    size: Size,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    database = ("--ledger", postgres.url)
    one = Replica(asynctls, tmp_path / "one", *database)
    other = Replica(asynctls, tmp_path / "other", *database)
    await one.start()
    backup = tmp_path / "backup"
    made = await asynctls.run("ttp", "backup", backup, "--state", one.config.state, *database)
    put = await asynctls.run("ttp", "restore", backup, "--state", other.config.state, *database)
    assert (made.code, put.code) == (0, 0)
    await other.start()
    config = TTPConfig(state=one.config.state, ledger=SecretText(postgres.url))
    async with balancing(one.address, other.address) as port:
        address = Address("127.0.0.1", port)
        await soaked([one, other], config, address, size, tmp_path, capsys)
