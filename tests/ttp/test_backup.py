"""A backup holds all that a TTP needs; a restore is whole or nothing, on either database."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
from base64 import b64encode
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from asynctls import state
from asynctls.config import Address, SecretText, TTPConfig
from asynctls.errors import LedgerBrokenError, StateError
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.profiles import Profile
from asynctls.pki.requests import build_request
from asynctls.ttp import archive
from asynctls.ttp.authority import Authority
from asynctls.ttp.backup import back_up, restore

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

    from tests.postgresql import Database

pytestmark = pytest.mark.one_loop

KEY = generate_now(KeyType.ECDSA_P256)
CSR = build_request(KEY)
HERE = "127.0.0.1:5555"
PASSPHRASE = SecretText("correct horse")

# Restores into folder after folder, and each time dies after one file more, until it has not died.
RESTORER = """
import asyncio, os, signal, sys
from pathlib import Path
from asynctls import state
from asynctls.config import SecretText, TTPConfig
from asynctls.ttp.backup import restore

backup, folder, first, last, *database = sys.argv[1:]

def dying(call):
    def counted(*words, **more):
        global left
        call(*words, **more)
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
    return counted

state.write_atomically = dying(state.write_atomically)
state.remove = dying(state.remove)
for after in range(int(first), int(last) + 1):
    left = after
    if not (child := os.fork()):
        ledger = SecretText(database[0]) if database else None
        config = TTPConfig(state=Path(f"{folder}{after}"), ledger=ledger)
        asyncio.run(restore(config, Path(backup), passphrase=None))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code)
    if code != -signal.SIGKILL:
        break
"""


def config_of(folder: Path, database: Database | None = None) -> TTPConfig:
    return TTPConfig(
        state=folder,
        listen=Address("127.0.0.1", 0),
        name=("ttp.example",),
        root_key_type="ecdsa-p256",
        issuing_key_type="ecdsa-p256",
        ledger=None if database is None else SecretText(database.url),
    )


async def enrolled(authority: Authority, name: str = "server") -> x509.Certificate:
    token_id, secret = await authority.create_token(
        name,
        profile=Profile.SERVER,
        ttl=timedelta(minutes=10),
        lifetime=timedelta(hours=1),
    )
    return await authority.enrol(token_id, secret.reveal().decode(), CSR, address=HERE)


async def names(config: TTPConfig) -> list[tuple[str, str]]:
    """Who has a certificate, and of which status, from a TTP that was opened and checked."""
    async with await Authority.open(config) as authority:
        await authority.verify()
        return [(each.name, each.status) for each in await authority.list_certificates()]


@pytest.fixture
async def made(tmp_path: Path) -> tuple[TTPConfig, Path]:
    """A TTP with two certificates, one of them revoked, and a backup of it."""
    config = config_of(tmp_path / "ttp")
    async with await Authority.open(config) as authority:
        await enrolled(authority)
        await enrolled(authority, "other")
        await authority.revoke("other")
        await back_up(config, tmp_path / "backup", passphrase=None)
    return config, tmp_path / "backup"


EXPECTED = [("server", "valid"), ("other", "revoked")]


def rewritten(path: Path, name: str, old: bytes, new: bytes) -> None:
    """Alters a member of a backup, as somebody does who has the file."""
    changed = io.BytesIO()
    with tarfile.open(path) as tar, tarfile.open(fileobj=changed, mode="w:gz") as to:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            content = file.read()
            if member.name == name:
                assert old in content
                content = content.replace(old, new, 1)
                member.size = len(content)
            to.addfile(member, io.BytesIO(content))
    path.write_bytes(changed.getvalue())


async def test_a_restored_ttp_goes_on_where_the_other_was(
    made: tuple[TTPConfig, Path], tmp_path: Path
) -> None:
    config, backup = made
    elsewhere = config_of(tmp_path / "elsewhere")
    restored = await restore(elsewhere, backup, passphrase=None)
    async with await Authority.open(config) as authority, await Authority.open(elsewhere) as other:
        assert other.root == authority.root
        assert other.ca_certificates == authority.ca_certificates
        assert (await other.verify(head=restored.head)).sequence == restored.head.sequence
        await enrolled(other, "third")
        assert len(await other.list_certificates()) == 3
    assert await names(config) == EXPECTED


async def test_a_backup_is_private_and_a_tar_of_what_there_is(made: tuple[TTPConfig, Path]) -> None:
    config, backup = made
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with tarfile.open(backup) as tar:
        found = {member.name: tar.extractfile(member) for member in tar}
        contents = {name: file.read() for name, file in found.items() if file is not None}
    manifest = json.loads(contents["asynctls-backup.json"])
    assert (manifest["format"], manifest["head"].count(":")) == (1, 1)
    kept = {"root.key", "root.pem", "issuing.key", "issuing.pem", "ledger.key"}
    for name in kept:
        assert contents[f"state/{name}"] == (config.state / name).read_bytes()
    assert "state/ledger.db" not in contents
    assert len(contents["entries/00000001.jsonl"].splitlines()) == restored_rows(manifest)


def restored_rows(manifest: dict[str, str]) -> int:
    return int(manifest["head"].partition(":")[0])


async def test_a_backup_while_rows_are_added_is_of_one_moment(tmp_path: Path) -> None:
    config = config_of(tmp_path / "ttp")
    async with await Authority.open(config) as authority:
        adding = [asyncio.create_task(enrolled(authority, f"host{n}")) for n in range(40)]
        await asyncio.wait(adding, return_when=asyncio.FIRST_COMPLETED)
        head = await back_up(config, tmp_path / "backup", passphrase=None)
        await asyncio.gather(*adding)
        await authority.verify(head=head)
    elsewhere = config_of(tmp_path / "elsewhere")
    assert (await restore(elsewhere, tmp_path / "backup", passphrase=None)).head == head
    found = await names(elsewhere)
    assert set(found) <= {(f"host{n}", "valid") for n in range(40)}
    assert len(found) == len(set(found))


async def test_an_encrypted_backup_opens_with_its_passphrase_alone(
    made: tuple[TTPConfig, Path], tmp_path: Path
) -> None:
    config, _ = made
    backup = tmp_path / "backup.age"
    await back_up(config, backup, passphrase=PASSPHRASE)
    content = backup.read_bytes()
    assert content.startswith(b"age-encryption.org/v1\n-> scrypt ")
    elsewhere = config_of(tmp_path / "elsewhere")
    for wrong in (None, SecretText("incorrect")):
        with pytest.raises(StateError, match="passphrase"):
            await restore(elsewhere, backup, passphrase=wrong)
    backup.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StateError, match="damaged"):
        await restore(elsewhere, backup, passphrase=PASSPHRASE)
    backup.write_bytes(content)
    await restore(elsewhere, backup, passphrase=PASSPHRASE)
    assert await names(elsewhere) == EXPECTED


@pytest.mark.parametrize("made_with", [bytes(1000), b"", b"\x1f\x8b\x08", b"PK\x03\x04"])
async def test_what_is_no_backup_is_refused_with_words(tmp_path: Path, made_with: bytes) -> None:
    (tmp_path / "letter").write_bytes(made_with)
    with pytest.raises(StateError, match="no backup"):
        await restore(config_of(tmp_path / "ttp"), tmp_path / "letter", passphrase=None)
    with pytest.raises(StateError, match="cannot be read"):
        await restore(config_of(tmp_path / "ttp"), tmp_path / "nowhere", passphrase=None)
    assert not (tmp_path / "ttp").exists()


def test_a_passphrase_that_would_be_stretched_for_hours_is_refused_at_once_in_one_line() -> None:
    salt, key, mac = (b64encode(bytes(length)).rstrip(b"=") for length in (16, 32, 32))
    header = b"age-encryption.org/v1\n-> scrypt %b 30\n%b\n--- %b\n" % (salt, key, mac)
    with pytest.raises(StateError, match="Excessive work") as caught:
        archive.decrypt(header + bytes(60), PASSPHRASE)
    assert "\n" not in str(caught.value)


async def test_a_backup_cut_short_anywhere_is_refused_and_changes_nothing(
    made: tuple[TTPConfig, Path], tmp_path: Path
) -> None:
    _, backup = made
    content = backup.read_bytes()
    elsewhere = config_of(tmp_path / "elsewhere")
    # The last one leaves the tar whole, and gzip's checksum not.
    for length in (*range(0, len(content) - 20, len(content) // 12), len(content) - 1):
        backup.write_bytes(content[:length])
        with pytest.raises(StateError):
            await restore(elsewhere, backup, passphrase=None)
        assert not elsewhere.state.exists() or os.listdir(elsewhere.state) == ["lock"]  # noqa: PTH208


# The second member's, behind the manifest and its header, a block each.
HEADER = slice(1024, 1536)


@pytest.mark.parametrize(
    ("damaged", "instead"),
    [
        (slice(1024, 1025), b"S"),
        (slice(1172, 1173), b"9"),
        (HEADER, bytes(512)),
        (slice(1300, None), b""),
        (slice(1024, None), b""),
        (slice(2560, None), b""),
        (slice(-1, None), b"x"),
    ],
    ids=["name", "checksum", "zeros", "cut in it", "cut before it", "half an end", "after the end"],
)
def test_a_tar_is_read_to_its_end_or_not_at_all(damaged: slice, instead: bytes) -> None:
    manifest = archive.Manifest(made_at=datetime(2026, 1, 1, tzinfo=UTC), head="", root_sha256="")
    packed = archive.pack(manifest, {"root.pem": b"x"}, [])
    assert list(archive.Archive(packed).files) == ["root.pem"]
    tar = bytearray(gzip.decompress(packed))
    assert tar[HEADER].startswith(b"state/root.pem\0")
    tar[damaged] = instead
    with pytest.raises(StateError, match="damaged"):
        archive.Archive(gzip.compress(tar))


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("entries/00000001.jsonl", b'"name":"server"', b'"name":"sorver"', "altered"),
        ("entries/00000001.jsonl", b'"sequence":3,', b'"sequence":4,', "missing"),
        ("asynctls-backup.json", b'"format":1', b'"format":2', "newer asynctls"),
        ("asynctls-backup.json", b'"schema":"0', b'"schema":"9', "newer asynctls"),
        ("asynctls-backup.json", b'"head":"', b'"head":"9', "cut off"),
    ],
)
async def test_an_altered_backup_is_refused_and_changes_nothing(
    made: tuple[TTPConfig, Path], tmp_path: Path, name: str, old: bytes, new: bytes, words: str
) -> None:
    _, backup = made
    rewritten(backup, name, old, new)
    elsewhere = config_of(tmp_path / "elsewhere")
    with pytest.raises(StateError, match=words):
        await restore(elsewhere, backup, passphrase=None)
    assert not elsewhere.state.exists() or os.listdir(elsewhere.state) == ["lock"]  # noqa: PTH208


async def test_a_backup_without_its_last_rows_leaves_a_database_empty(
    made: tuple[TTPConfig, Path], tmp_path: Path, postgres: Database
) -> None:
    _, backup = made
    with tarfile.open(backup) as tar:
        rows = tar.extractfile("entries/00000001.jsonl")
        assert rows is not None
        last = rows.read().splitlines(keepends=True)[-1]
    rewritten(backup, "entries/00000001.jsonl", last, b"")
    with pytest.raises(StateError, match="cut off"):
        await restore(config_of(tmp_path / "elsewhere", postgres), backup, passphrase=None)
    # With any row in it, it would be another TTP's.
    async with await Authority.open(config_of(tmp_path / "new", postgres)) as authority:
        assert await authority.list_certificates() == []


async def test_a_restore_that_is_stopped_leaves_nothing_behind(
    made: tuple[TTPConfig, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = config_of(tmp_path / "elsewhere")
    begun, go_on = threading.Event(), threading.Event()
    write = state.write_atomically

    def slow(path: Path, content: bytes) -> None:
        if path.name == "issuing.pem":
            begun.set()
            assert go_on.wait(10)
        write(path, content)

    monkeypatch.setattr(state, "write_atomically", slow)
    task = asyncio.create_task(restore(elsewhere, made[1], passphrase=None))
    assert await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    # What is being written is not undone under the writer's hands.
    assert await asyncio.wait({task}, timeout=0.2) == (set(), {task})
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert os.listdir(elsewhere.state) == ["lock"]  # noqa: PTH208


def test_no_name_in_a_backup_leads_out_of_the_folder() -> None:
    manifest = archive.Manifest(
        made_at=datetime(2026, 1, 1, tzinfo=UTC),
        head="1:" + "00" * 32,
        root_sha256="",
    )
    for name in ("../x", "/etc/x", ".x", "a/b", "", "a\nb"):
        with pytest.raises(StateError, match="strange name"):
            archive.Archive(archive.pack(manifest, {name: b"x"}, []))


async def test_a_folder_that_holds_a_ttp_is_never_overwritten(
    made: tuple[TTPConfig, Path],
) -> None:
    config, backup = made
    with pytest.raises(StateError, match="is not empty"):
        await restore(config, backup, passphrase=None)
    assert await names(config) == EXPECTED


async def test_a_backup_into_the_state_folder_is_refused(made: tuple[TTPConfig, Path]) -> None:
    config, _ = made
    with pytest.raises(StateError, match="choose another place"):
        await back_up(config, config.state / "backup", passphrase=None)


async def test_a_broken_ledger_is_not_backed_up_as_if_it_were_whole(
    made: tuple[TTPConfig, Path], tmp_path: Path
) -> None:
    config, _ = made
    with closing(sqlite3.connect(config.state / "ledger.db")) as connection:
        connection.execute("UPDATE entries SET name = 'thief' WHERE name = 'server'")
        connection.commit()
    with pytest.raises(LedgerBrokenError, match="altered"):
        await back_up(config, tmp_path / "again", passphrase=None)
    assert not (tmp_path / "again").exists()


def killed(backup: Path, folder: Path, first: int, last: int, *database: str) -> list[int]:
    """How each restore ended; they are in ``folder`` with the number of files behind it."""
    words = (backup, folder, first, last, *database)
    ended = subprocess.run(
        [sys.executable, "-c", RESTORER, *map(str, words)], check=True, stdout=subprocess.PIPE
    )
    return [int(code) for code in ended.stdout.split()]


def prepared(tmp_path: Path) -> Path:
    config = config_of(tmp_path / "ttp")

    async def make() -> None:
        async with await Authority.open(config) as authority:
            await enrolled(authority)
            await back_up(config, tmp_path / "backup", passphrase=None)

    asyncio.run(make())
    return tmp_path / "backup"


def test_a_restore_killed_after_any_file_is_refused_until_it_is_run_again(tmp_path: Path) -> None:
    backup = prepared(tmp_path)
    *died, ended = killed(backup, tmp_path / "elsewhere", 1, 100)
    assert set(died) == {-signal.SIGKILL}
    assert ended == 0
    for files in range(1, len(died) + 2):
        elsewhere = config_of(tmp_path / f"elsewhere{files}")
        if (elsewhere.state / "restoring").exists():
            with pytest.raises(StateError, match="interrupted"):
                asyncio.run(Authority.open(elsewhere))
            asyncio.run(restore(elsewhere, backup, passphrase=None))
        assert asyncio.run(names(elsewhere)) == [("server", "valid")]
    assert len(died) >= 8


@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_restore_to_postgresql_that_was_killed_is_run_again(
    tmp_path: Path, postgres: Database, after: int
) -> None:
    backup = prepared(tmp_path)
    died = killed(backup, tmp_path / "elsewhere", after, after, postgres.url)
    assert died == [-signal.SIGKILL]
    elsewhere = config_of(tmp_path / f"elsewhere{after}", postgres)
    with pytest.raises(StateError, match="interrupted"):
        asyncio.run(Authority.open(elsewhere))
    asyncio.run(restore(elsewhere, backup, passphrase=None))
    assert asyncio.run(names(elsewhere)) == [("server", "valid")]


async def test_a_ttp_moves_from_sqlite_to_postgresql_and_back(
    made: tuple[TTPConfig, Path], tmp_path: Path, postgres: Database
) -> None:
    _, backup = made
    shared = config_of(tmp_path / "shared", postgres)
    restored = await restore(shared, backup, passphrase=None)
    assert restored.rows == restored.head.sequence
    assert await names(shared) == EXPECTED
    head = await back_up(shared, tmp_path / "again", passphrase=None)
    alone = config_of(tmp_path / "alone")
    assert (await restore(alone, tmp_path / "again", passphrase=None)).head == head
    assert await names(alone) == EXPECTED


async def test_a_second_replica_gets_its_keys_and_the_rows_stay(
    tmp_path: Path, postgres: Database
) -> None:
    first, second = (config_of(tmp_path / name, postgres) for name in ("first", "second"))
    async with await Authority.open(first) as one:
        await back_up(first, tmp_path / "backup", passphrase=None)
        await enrolled(one)
        restored = await restore(second, tmp_path / "backup", passphrase=None)
        assert restored.rows == 0
        async with await Authority.open(second) as other:
            certificate = await enrolled(other, "other")
            assert certificate.issuer == one.ca_certificates[0].subject
            await one.verify()
            assert await one.list_certificates() == await other.list_certificates()


async def test_a_database_that_lost_its_last_rows_gets_them_back(
    tmp_path: Path, postgres: Database
) -> None:
    config = config_of(tmp_path / "ttp", postgres)
    async with await Authority.open(config) as authority:
        await enrolled(authority)
    await back_up(config, tmp_path / "backup", passphrase=None)
    postgres.execute("DELETE FROM entries WHERE sequence > 4")
    elsewhere = config_of(tmp_path / "elsewhere", postgres)
    restored = await restore(elsewhere, tmp_path / "backup", passphrase=None)
    assert restored.rows == restored.head.sequence - 4
    assert await names(elsewhere) == [("server", "valid")]


async def test_a_database_with_another_ledger_is_left_alone(
    made: tuple[TTPConfig, Path], tmp_path: Path, postgres: Database
) -> None:
    other = config_of(tmp_path / "other", postgres)
    async with await Authority.open(other) as authority:
        await enrolled(authority, "stranger")
    with pytest.raises(StateError, match="must be empty or hold the ledger"):
        await restore(config_of(tmp_path / "new", postgres), made[1], passphrase=None)
    assert await names(other) == [("stranger", "valid")]


async def test_a_ledger_that_went_another_way_since_is_left_alone(
    made: tuple[TTPConfig, Path], tmp_path: Path, postgres: Database
) -> None:
    config, backup = made
    async with await Authority.open(config) as authority:
        await enrolled(authority, "third")
    await back_up(config, tmp_path / "later", passphrase=None)
    shared = config_of(tmp_path / "shared", postgres)
    await restore(shared, backup, passphrase=None)
    async with await Authority.open(shared) as authority:
        await enrolled(authority, "elsewhere")
        await enrolled(authority, "elsewhere2")
    with pytest.raises(StateError, match="went another way"):
        await restore(config_of(tmp_path / "new", postgres), tmp_path / "later", passphrase=None)
    assert ("elsewhere", "valid") in await names(shared)
