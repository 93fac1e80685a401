"""A disk that is full, read-only or damaged: a clear error, nothing lost, and a clean restart."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.config import TTPConfig
from asynctls.enrolment import Identity, join
from asynctls.errors import TTPUnreachableError
from asynctls.pki.keys import KeyType
from asynctls.ttp.authority import Authority
from tests.faults import fleet
from tests.faults.fsyncs import Fsyncs
from tests.faults.namespaces import machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.faults.namespaces import Machine
    from tests.roles.processes import Daemons, Ended

pytestmark = [pytest.mark.timeout(240), pytest.mark.one_loop]

FEW = 8
BRIEFLY, LONG = timedelta(seconds=2), timedelta(seconds=30)


class Disk:
    """A disk of 1 MiB, mounted where the commands see it and nobody else."""

    def __init__(self, machine: Machine, mounted: Path) -> None:
        self.folder = mounted
        self.filler = Path(f"/proc/{machine.pid}/root{mounted}/filler")
        self._machine = machine

    async def mount(self) -> None:
        await self._machine.does(f"mount -t tmpfs -o size=1m,mode=700 tmpfs '{self.folder}'")

    async def mount_again(self, how: str) -> None:
        await self._machine.does(f"mount -o remount,{how} '{self.folder}'")

    def fill(self) -> None:
        """Leaves not a byte of it."""
        with suppress(OSError), self.filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass


@pytest.fixture
async def disk(asynctls: Daemons, tmp_path: Path) -> AsyncIterator[Disk]:
    """A disk of 1 MiB, which the commands see."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    async with machine("mount") as found:
        disk = Disk(found, mounted)
        await disk.mount()
        asynctls.inside = found.enter
        yield disk
        await asynctls.end()


async def token(asynctls: Daemons, state: Path, name: str) -> Ended:
    return await asynctls.run("ttp", "token", name, "--role", "client", "--state", state)


async def verified(asynctls: Daemons, state: Path, *words: str) -> str:
    """The head of a ledger that holds."""
    ended = await asynctls.run("ttp", "verify", "--state", state, *words)
    assert ended.code == 0, ended.said
    return ended.out.decode().strip()


async def joined(asynctls: Daemons, join_string: Ended, folder: Path) -> Ended:
    words = ("identity", "join", "--state", folder, "--join-file", "-", "--key-type", "ecdsa-p256")
    return await asynctls.run(*words, given=join_string.out.decode())


async def test_a_full_disk_loses_nothing_and_a_restart_goes_on(
    asynctls: Daemons, disk: Disk, tmp_path: Path
) -> None:
    state = disk.folder / "ttp"
    ttp, _ = await asynctls.ttp(state)
    head = (await ttp.event("audit"))["head"]
    await asyncio.to_thread(disk.fill)
    # What the ledger's own files have room for still fits: a few rows.
    for _ in range(FEW):
        refused = await token(asynctls, state, "client")
        if refused.code != 0:
            break
    assert (refused.code, refused.out) == (1, b"")
    assert "the disk is full" in refused.said[-1]
    await ttp.kill()
    # With not a byte left it cannot start, and says so; nothing of what is there is touched.
    full = await asynctls.run("ttp", "--state", state, "--listen", "127.0.0.1:0")
    assert full.code == 1
    assert "full" in full.said[-1]
    await asyncio.to_thread(disk.filler.unlink)
    await asynctls.ttp(state)
    again = await token(asynctls, state, "other")
    assert (await joined(asynctls, again, tmp_path / "other")).code == 0
    await verified(asynctls, state, "--head", head)


async def test_a_read_only_disk_is_named_and_serves_again_when_it_is_writable(
    asynctls: Daemons, disk: Disk, tmp_path: Path
) -> None:
    state = disk.folder / "ttp"
    ttp, _ = await asynctls.ttp(state)
    head = (await ttp.event("audit"))["head"]
    await ttp.kill()
    await disk.mount_again("ro")
    for words in (("token", "client"), ("verify",), ()):
        ended = await asynctls.run("ttp", *words, "--state", state)
        assert (ended.code, ended.out) == (1, b""), words
        assert "read-only" in ended.said[-1].lower(), ended.said
    await disk.mount_again("rw")
    await asynctls.ttp(state)
    made = await token(asynctls, state, "client")
    assert (await joined(asynctls, made, tmp_path / "client")).code == 0
    await verified(asynctls, state, "--head", head)


async def test_a_damaged_ledger_is_named_and_a_backup_puts_it_right(
    asynctls: Daemons, tmp_path: Path
) -> None:
    state, backup = tmp_path / "ttp", tmp_path / "backup"
    ttp, _ = await asynctls.ttp(state)
    saved = await asynctls.run("ttp", "backup", backup, "--state", state)
    assert saved.code == 0
    await ttp.stop()

    def damage() -> None:
        path = state / "ledger.db"
        content = path.read_bytes()
        path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))

    await asyncio.to_thread(damage)
    for words in ((), ("verify",)):
        ended = await asynctls.run("ttp", *words, "--state", state)
        assert (ended.code, ended.out) == (1, b"")
        assert "restore" in ended.said[-1]
    elsewhere = tmp_path / "elsewhere"
    restored = await asynctls.run("ttp", "restore", backup, "--state", elsewhere)
    assert (restored.code, restored.out) == (0, saved.out)
    await asynctls.ttp(elsewhere)
    again = await token(asynctls, elsewhere, "client")
    assert (await joined(asynctls, again, tmp_path / "client")).code == 0
    await verified(asynctls, elsewhere, "--head", saved.out.decode().strip())


async def test_a_newer_state_is_refused_with_words_and_left_as_it_is(
    asynctls: Daemons, tmp_path: Path
) -> None:
    state = tmp_path / "ttp"
    ttp, _ = await asynctls.ttp(state)
    await ttp.stop()

    def content(*statements: str) -> list[object]:
        with closing(sqlite3.connect(state / "ledger.db")) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
            return list(connection.execute("SELECT * FROM entries ORDER BY sequence"))

    before = await asyncio.to_thread(content, "UPDATE alembic_version SET version_num = '9999'")
    for words in ((), ("token", "client"), ("backup", "saved")):
        ended = await asynctls.run("ttp", *words, "--state", state)
        assert (ended.code, ended.out) == (1, b"")
        assert "newer asynctls (schema 9999" in ended.said[-1]
    assert await asyncio.to_thread(content) == before


async def test_an_fsync_that_fails_is_told_and_nothing_counts_that_is_not_on_the_disk(
    asynctls: Daemons, tmp_path: Path
) -> None:
    fsyncs = await asyncio.to_thread(Fsyncs, tmp_path)
    asynctls.variables.update(fsyncs.variables)
    config, folder = TTPConfig(state=tmp_path / "ttp"), tmp_path / "client"
    ttp, at = await asynctls.ttp(config.state)
    join_string = await fleet.token(config, at, "client")

    fsyncs.fail()
    refused = await token(asynctls, config.state, "other")
    assert (refused.code, refused.out) == (1, b"")
    assert "the disk gives an error" in refused.said[-1]
    # Not though it asks again and again, and the rows can be read by now.
    with pytest.raises(TTPUnreachableError, match="asks to try again"):
        await join(folder, join_string, key_type=KeyType.ECDSA_P256, give_up_after=BRIEFLY)
    assert Identity.find(folder) is None

    fsyncs.work()
    identity = await join(folder, join_string, key_type=KeyType.ECDSA_P256, give_up_after=LONG)
    await ttp.kill()
    await asynctls.ttp(config.state)
    async with await Authority.beside(config) as authority:
        await authority.verify()
        (listed,) = await authority.list_certificates()
    assert listed.serial == identity.serial


async def test_a_server_that_cannot_keep_its_next_certificate_goes_on_with_the_one_it_has(
    asynctls: Daemons, issued: Any, tmp_path: Path
) -> None:
    fsyncs = await asyncio.to_thread(Fsyncs, tmp_path)
    asynctls.variables.update(fsyncs.variables)
    held: Identity = await issued("server", lifetime=timedelta(seconds=12))
    server, _ = await asynctls.server(held)
    fsyncs.fail()
    failed = await server.event("certificate not renewed")
    assert "the disk gives an error" in failed["reason"]
    assert Identity.load(held.folder) == held
    fsyncs.work()
    renewed = await server.event("certificate renewed")
    assert Identity.load(held.folder).serial == renewed["serial"]
    assert (await server.stop()).code == 0
