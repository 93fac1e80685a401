"""``asynctls ttp backup`` and ``restore``: all that a TTP needs to go on elsewhere, as one file.

A backup is made while the daemon runs. Keys and certificates change only in transactions of the
ledger's writer, so they are read inside one, with the head as it is then; the rows up to that head
are read afterwards, since they never change.

A restore is whole or it is nothing, killed at any moment: the file ``restoring`` in the state
folder goes before the first thing that it writes and is removed after the last, and a TTP refuses a
folder that has it. The rows come into the database in one transaction. A PostgreSQL that holds the
same chain already, since other replicas go on with it, gets only the rows that it lacks.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asynctls import state
from asynctls.errors import LedgerBrokenError, StateError
from asynctls.pki.certificates import certificates_from_pem, fingerprint
from asynctls.ttp import archive, ca, clock
from asynctls.ttp.archive import Archive, Manifest
from asynctls.ttp.chain import Head
from asynctls.ttp.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from asynctls.config import SecretText, TTPConfig
    from asynctls.ttp.chain import Value
    from asynctls.ttp.transactions import Transaction

__all__ = ["Restored", "back_up", "check_whole", "restore"]

_MARK = "restoring"
_KEY = "ledger.key"
# What belongs to this folder alone. The ledger's database is taken row by row.
_LEFT_OUT = frozenset({"lock", _MARK, "ledger.db", "ledger.db-wal", "ledger.db-shm"})


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: the ledger's head now, and how many rows it brought."""

    head: Head
    rows: int


def check_whole(folder: Path) -> None:
    """Refuses a state folder whose restore did not come to its end; blocking.

    Raises:
        StateError: says to run it again.
    """
    if (folder / _MARK).exists():
        raise StateError(
            f"a restore into {folder} was interrupted: run 'asynctls ttp restore' with the same "
            "backup again"
        )


async def back_up(config: TTPConfig, path: Path, *, passphrase: SecretText | None) -> Head:
    """Writes a backup to ``path`` (0600), in place of what is there; whole or not at all.

    Args:
        config: of the TTP.
        path: the file; outside the state folder.
        passphrase: what to encrypt it with; None: it holds the keys as they lie in the state
            folder.

    Returns:
        The ledger's head that is in it.

    Raises:
        StateError: there is no TTP, its ledger is broken or out of reach, or the file cannot be
            written.
    """
    folder = config.state

    def check() -> None:
        check_whole(folder)
        ca.check_there(folder)
        if path.resolve().is_relative_to(folder.resolve()):
            raise StateError(
                f"{path} lies in the state folder, and would be lost with it: choose another place"
            )

    await asyncio.to_thread(check)
    async with await Ledger.open(folder, database=config.ledger, must_exist=True) as ledger:
        head, files = await ledger.write(lambda tx: (tx.head, _files_in(folder)))
        manifest = Manifest(
            made_at=clock.now(),
            head=str(head),
            root_sha256=fingerprint(certificates_from_pem(files["root.pem"])[0]).hex(),
        )

        def pack(rows: Iterator[Mapping[str, Value]]) -> bytes:
            return archive.pack(manifest, files, rows)

        packed = await ledger.copy(pack, head=head)
    if passphrase is not None:
        packed = await asyncio.to_thread(archive.encrypt, packed, passphrase)
    await asyncio.to_thread(state.write_atomically, path, packed)
    return head


async def restore(config: TTPConfig, path: Path, *, passphrase: SecretText | None) -> Restored:
    """Makes a TTP of a backup, in a state folder that holds none.

    Args:
        config: of the TTP to be: its state folder, and its ledger if that is on PostgreSQL.
        path: the backup.
        passphrase: for one that is encrypted.

    Raises:
        StateError: there is a TTP already, another ledger is in the database, the backup cannot be
            read, or something cannot be written; nothing was changed then.
    """
    backup = await asyncio.to_thread(_read, path, passphrase)
    folder = config.state
    async with state.hold_state_folder(folder):
        # Each to its end, cancelled or not: else what is undone would be written once more.
        await state.to_its_end(_begin, folder)
        try:
            await state.to_its_end(state.write_atomically, folder / _KEY, backup.files[_KEY])
            async with await Ledger.open(folder, database=config.ledger) as ledger:
                restored = await _rows_into(ledger, backup)
            await state.to_its_end(_finish, folder, backup)
        except BaseException:
            await state.to_its_end(_undo, folder, backup)
            raise
    return restored


async def _rows_into(ledger: Ledger, backup: Archive) -> Restored:
    wanted = Head.parse(backup.manifest.head)

    def adopt(tx: Transaction) -> int:
        before, last = tx.head, None
        for rows in backup.rows():
            held = sum(_sequence(row) <= before.sequence for row in rows)
            if held:
                last = rows[held - 1]
            tx.adopt(rows[held:])
        if last is not None and not tx.has_link(Head(_sequence(last), _mac(last))):
            raise StateError(_OTHER_CHAIN)
        # Before the commit: a database that others go on with keeps no half of a backup.
        if not tx.has_link(wanted):
            raise StateError(
                f"the backup does not hold row {wanted.sequence}, which it says is its last: it "
                "was cut off or altered; take another one"
            )
        return tx.head.sequence - before.sequence

    try:
        added = await ledger.write(adopt)
        return Restored(await ledger.verify(head=wanted), added)
    except LedgerBrokenError as error:
        raise StateError(
            f"the ledger of the backup does not go into {ledger.name}: {error}. The database must "
            "be empty or hold the ledger that the backup is of; an unbroken backup fits it"
        ) from error


_OTHER_CHAIN = (
    "the database holds a ledger that went another way than the backup's: rows of one are not in "
    "the other; restore into an empty database"
)


def _read(path: Path, passphrase: SecretText | None) -> Archive:
    try:
        return _unpacked(path.read_bytes(), passphrase)
    except OSError as error:
        raise StateError(f"the backup {path} cannot be read: {error.strerror}") from error
    except (StateError, ValueError) as error:
        raise StateError(f"{path} cannot be restored: {error}") from error


def _unpacked(content: bytes, passphrase: SecretText | None) -> Archive:
    if archive.is_encrypted(content):
        if passphrase is None:
            raise StateError("it is encrypted: give the passphrase by --passphrase-file")
        content = archive.decrypt(content, passphrase)
    backup = Archive(content)
    Head.parse(backup.manifest.head)
    missing = {_KEY, "root.pem", "issuing.pem"} - backup.files.keys()
    if missing:
        raise StateError(f"it lacks {', '.join(sorted(missing))}")
    return backup


def _files_in(folder: Path) -> dict[str, bytes]:
    """The files of a state folder but for those that are its own or half written."""
    files = {}
    for path in folder.iterdir():
        if path.is_file() and path.name not in _LEFT_OUT and not path.name.startswith("."):
            # A key that is no longer needed is removed outside of the ledger's transactions.
            with suppress(FileNotFoundError):
                files[path.name] = path.read_bytes()
    return files


def _begin(folder: Path) -> None:
    interrupted = (folder / _MARK).exists()
    there = sorted(path.name for path in folder.iterdir() if path.name != "lock")
    if there and not interrupted:
        raise StateError(
            f"{folder} is not empty ({there[0]} is there): choose another state folder, or move "
            "this one away"
        )
    state.write_atomically(folder / _MARK, b"A restore of a backup has begun here.\n")
    for name in there:
        if name != _MARK:
            (folder / name).unlink()


def _finish(folder: Path, backup: Archive) -> None:
    for name, content in backup.files.items():
        state.write_atomically(folder / name, content)
    state.remove(folder / _MARK)


def _undo(folder: Path, backup: Archive) -> None:
    # What cannot be removed either is found by the next restore, since the mark goes last.
    with suppress(OSError):
        for name in (*backup.files, "ledger.db", "ledger.db-wal", "ledger.db-shm", _MARK):
            (folder / name).unlink(missing_ok=True)


def _sequence(row: Mapping[str, Value]) -> int:
    sequence = row["sequence"]
    if not isinstance(sequence, int):
        raise StateError("it is damaged: a row of the ledger has no sequence")
    return sequence


def _mac(row: Mapping[str, Value]) -> bytes:
    tag = row["mac"]
    return tag if isinstance(tag, bytes) else b""
