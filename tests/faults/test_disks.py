"""A disk that is full, read-only or damaged: a clear error, nothing lost, and a clean restart."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.roles.processes import Daemons, Ended

pytestmark = [pytest.mark.timeout(240), pytest.mark.one_loop]

# A disk of its own in a mount namespace of its own, which ends with the shell that made it and the
# last program that entered it. The shell does what it is told line by line.
_DISK = """
mount -t tmpfs -o size=1m,mode=700 tmpfs "$1" && echo ready || exit
while read -r line; do eval "$line" && echo done; done
"""


class Disk:
    def __init__(self, shell: asyncio.subprocess.Process, mounted: Path) -> None:
        self.folder = mounted
        self.filler = Path(f"/proc/{shell.pid}/root{mounted}/filler")
        self.enter = (
            *("nsenter", "--target", str(shell.pid)),
            *("--user", "--mount", "--preserve-credentials", "--"),
        )
        self._shell = shell

    async def mount_again(self, how: str) -> None:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"mount -o remount,{how} '{self.folder}'\n".encode())
        assert await self._shell.stdout.readline() == b"done\n"

    def fill(self) -> None:
        """Leaves not a byte of it."""
        with suppress(OSError), self.filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass


@asynccontextmanager
async def small_disk(mounted: Path) -> AsyncIterator[Disk]:
    unshare = shutil.which("unshare")
    if unshare is None or sys.platform != "linux":
        pytest.skip("a disk to fill needs Linux and its program unshare")
    await asyncio.to_thread(mounted.mkdir)
    shell = await asyncio.create_subprocess_exec(
        *(unshare, "--map-root-user", "--mount", "sh", "-c", _DISK, "sh", str(mounted)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert shell.stdin is not None
    assert shell.stdout is not None
    try:
        if await shell.stdout.readline() != b"ready\n":
            pytest.skip("this user may not mount a disk of its own")
        yield Disk(shell, mounted)
    finally:
        shell.stdin.close()
        await shell.wait()


@pytest.fixture
async def disk(asynctls: Daemons, tmp_path: Path) -> AsyncIterator[Disk]:
    """A disk of 1 MiB, which the commands see."""
    async with small_disk(tmp_path / "disk") as disk:
        asynctls.inside = disk.enter
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
    assert (await token(asynctls, state, "client")).code == 0
    head = await verified(asynctls, state)
    await asyncio.to_thread(disk.fill)
    refused = await token(asynctls, state, "other")
    assert (refused.code, refused.out) == (1, b"")
    assert "the disk is full" in refused.said[-1]
    await ttp.kill()
    # With not a byte left it cannot start, and says so; nothing of what is there is touched.
    full = await asynctls.run("ttp", "--state", state, "--listen", "127.0.0.1:0")
    assert full.code == 1
    assert "full" in full.said[-1]
    await asyncio.to_thread(disk.filler.unlink)
    await asynctls.ttp(state)
    await verified(asynctls, state, "--head", head)
    again = await token(asynctls, state, "other")
    assert (await joined(asynctls, again, tmp_path / "other")).code == 0
    await verified(asynctls, state, "--head", head)


async def test_a_read_only_disk_is_named_and_serves_again_when_it_is_writable(
    asynctls: Daemons, disk: Disk, tmp_path: Path
) -> None:
    state = disk.folder / "ttp"
    ttp, _ = await asynctls.ttp(state)
    head = await verified(asynctls, state)
    await ttp.kill()
    await disk.mount_again("ro")
    for words in (("token", "client"), ("verify",), ("list",), ()):
        ended = await asynctls.run("ttp", *words, "--state", state)
        assert (ended.code, ended.out) == (1, b""), words
        assert "read-only" in ended.said[-1].lower(), ended.said
    await disk.mount_again("rw")
    await asynctls.ttp(state)
    await verified(asynctls, state, "--head", head)
    made = await token(asynctls, state, "client")
    assert (await joined(asynctls, made, tmp_path / "client")).code == 0


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
    for words in ((), ("verify",), ("list",)):
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
    for words in ((), ("token", "client"), ("backup", "saved"), ("list",)):
        ended = await asynctls.run("ttp", *words, "--state", state)
        assert (ended.code, ended.out) == (1, b"")
        assert "newer asynctls (schema 9999" in ended.said[-1]
    assert await asyncio.to_thread(content) == before
