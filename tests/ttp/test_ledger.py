"""The ledger keeps what it was given, whoever writes beside it and whatever breaks."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from asynctls.errors import LedgerBrokenError, LedgerError, StateError
from asynctls.ttp import audit, schema
from asynctls.ttp import ledger as ledger_module
from asynctls.ttp.chain import EMPTY, Head, Value
from asynctls.ttp.ledger import Ledger
from asynctls.ttp.reach import Reach
from asynctls.ttp.schema import Kind, RefusalBody, row_of
from asynctls.ttp.writer import GROUP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asynctls.ttp.transactions import Transaction

WRITER = """
import asyncio, sys
from pathlib import Path
import structlog
from asynctls.ttp.ledger import Ledger
from asynctls.ttp.reach import Reach
from asynctls.ttp.schema import Kind, RefusalBody, row_of

async def main(folder: str, who: str, count: int) -> None:
    async with await Ledger.open(Path(folder)) as ledger:
        async def some(n: int) -> None:
            for _ in range(n):
                body = RefusalBody(rule="r", reason=who, address="a")
                row = row_of(Kind.ENROLMENT_REFUSED, body, at=1)
                head = await ledger.write(lambda tx: tx.append(row))
                print(head.sequence, flush=True)
        await asyncio.gather(*(some(count // 8) for _ in range(8)))

structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def refusal(reason: str = "because", **columns: Value) -> dict[str, Value]:
    body = RefusalBody(rule="rule", reason=reason, address="127.0.0.1")
    return row_of(Kind.ENROLMENT_REFUSED, body, at=1, **columns)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
async def ledger(folder: Path) -> AsyncIterator[Ledger]:
    async with await Ledger.open(folder) as opened:
        yield opened


def altered(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def append(ledger: Ledger, count: int) -> Head:
    head = EMPTY
    for n in range(count):
        row = refusal(str(n))
        head = await ledger.write(lambda tx, row=row: tx.append(row))  # type: ignore[misc]
    return head


async def test_what_is_written_is_there_after_opening_again(folder: Path) -> None:
    async with await Ledger.open(folder) as ledger:
        head = await append(ledger, 3)
        assert await ledger.head() == head
    async with await Ledger.open(folder) as ledger:
        assert await ledger.verify() == head
        assert (await append(ledger, 1)).sequence == 4
        assert (await ledger.verify(head=head)).sequence == 4


async def test_its_files_are_private(folder: Path, ledger: Ledger) -> None:
    await append(ledger, 1)
    modes = modes_in(folder)
    assert modes.keys() >= {"ledger.db", "ledger.db-wal", "ledger.key"}
    assert set(modes.values()) == {0o600}
    assert len((folder / "ledger.key").read_bytes()) == 32


async def test_sqlite_runs_as_designed(ledger: Ledger) -> None:
    def pragmas(connection: sa.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "fullfsync", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await ledger.write(lambda tx: pragmas(tx.connection)) == ["wal", 2, 1, 1]


async def test_the_migrated_schema_is_the_one_that_the_program_declares(ledger: Ledger) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def differences(connection: sa.Connection) -> list[object]:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == schema.REVISION
        return list(compare_metadata(context, schema.metadata()))

    def partial_indexes(connection: sa.Connection) -> dict[str, str]:
        found = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        )
        return {name: " ".join(sql.split()) for name, sql in found}

    assert await ledger.read(differences) == []
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        schema.metadata().create_all(connection)
        declared = partial_indexes(connection)
    engine.dispose()
    assert await ledger.read(partial_indexes) == declared


async def test_each_append_logs_the_head(ledger: Ledger) -> None:
    with capture_logs() as events:
        head = await append(ledger, 2)
    appended = [event for event in events if event["event"] == "audit"]
    assert [event["sequence"] for event in appended] == [1, 2]
    assert Head.parse(appended[-1]["head"]) == head


def commits_of(ledger: Ledger) -> list[sa.Connection]:
    """The connection of each commit from now on, as they are made."""
    made: list[sa.Connection] = []
    sa.event.listen(ledger._store.engine, "commit", made.append)
    return made


async def test_requests_that_arrive_together_share_a_commit(ledger: Ledger) -> None:
    commits = commits_of(ledger)
    # The first of them does not begin alone: all come in one turn of the loop.
    await asyncio.gather(*(ledger.write(lambda tx: tx.append(refusal())) for _ in range(60)))
    assert len(commits) == 1
    assert (await ledger.verify()).sequence == 60


async def test_what_is_asked_for_while_others_are_run_shares_their_commit(ledger: Ledger) -> None:
    begun, held = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> Head:
        begun.set()
        held.wait(20)
        return tx.append(refusal())

    commits = commits_of(ledger)
    asked = [ledger._writer.submit(slow)]
    await asyncio.to_thread(begun.wait, 20)
    asked += [ledger._writer.submit(lambda tx: tx.append(refusal())) for _ in range(2)]
    await asyncio.sleep(0)
    held.set()
    assert [head.sequence for head in await asyncio.gather(*asked)] == [1, 2, 3]
    assert len(commits) == 1


async def test_nothing_joins_an_operation_that_is_run_again(ledger: Ledger) -> None:
    begun, held = threading.Event(), threading.Event()

    def spoiling(tx: Transaction) -> Head:
        tx.append(refusal("to be undone"))
        raise StateError("after it wrote")

    def slow(tx: Transaction) -> Head:
        begun.set()
        held.wait(20)
        return tx.append(refusal())

    commits = commits_of(ledger)
    spoilt, asked = ledger._writer.submit(spoiling), [ledger._writer.submit(slow)]
    await asyncio.to_thread(begun.wait, 20)
    asked.append(ledger._writer.submit(lambda tx: tx.append(refusal())))
    await asyncio.sleep(0)
    held.set()
    with pytest.raises(StateError, match="after it wrote"):
        await spoilt
    assert [head.sequence for head in await asyncio.gather(*asked)] == [1, 2]
    assert len(commits) == 2


async def test_no_transaction_has_more_operations_than_a_group(ledger: Ledger) -> None:
    committed: Counter[int] = Counter()
    held = threading.Event()

    def append_one(tx: Transaction) -> Head:
        committed[len(commits)] += 1
        return tx.append(refusal())

    commits = commits_of(ledger)
    first = ledger._writer.submit(lambda _tx: held.wait(20))
    asked = []
    for turn in (GROUP - 1, GROUP, 3 * GROUP):
        # The next turn: what was asked for before is with the thread, which waits.
        await asyncio.sleep(0)
        asked += [ledger._writer.submit(append_one) for _ in range(turn)]
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(first, *asked)
    assert max(committed.values()) == GROUP
    assert sum(committed.values()) == 5 * GROUP - 1
    assert (await ledger.verify()).sequence == 5 * GROUP - 1


async def test_what_was_asked_for_in_the_turn_of_the_close_is_done(folder: Path) -> None:
    ledger = await Ledger.open(folder)
    asked = ledger._writer.submit(lambda tx: tx.append(refusal()))
    await ledger.close()
    assert (await asked).sequence == 1


async def test_an_operation_that_fails_does_not_spoil_its_group(ledger: Ledger) -> None:
    def early(_tx: Transaction) -> Head:
        raise StateError("before it wrote")

    def late(tx: Transaction) -> Head:
        tx.append(refusal("to be undone"))
        raise StateError("after it wrote")

    def good(tx: Transaction) -> Head:
        return tx.append(refusal("kept"))

    def reasons(connection: sa.Connection) -> int:
        found = connection.exec_driver_sql("SELECT body FROM entries").scalars().all()
        assert all("kept" in body for body in found)
        return len(found)

    operations = [good, early, good, late, good, late, early, good]
    results = await asyncio.gather(*map(ledger.write, operations), return_exceptions=True)
    for operation, result in zip(operations, results, strict=True):
        if operation is good:
            assert isinstance(result, Head)
        else:
            assert isinstance(result, StateError)
            assert ("before" in str(result)) == (operation is early)
    assert await ledger.read(reasons) == 4
    assert (await ledger.verify()).sequence == 4


async def test_a_second_certificate_of_one_serial_number_is_refused_alone(ledger: Ledger) -> None:
    def certificate(serial: str) -> dict[str, Value]:
        body = RefusalBody(rule="", reason="", address="")
        return row_of(Kind.CERTIFICATE_ISSUED, body, at=1, serial=serial)

    results = await asyncio.gather(
        *(ledger.write(lambda tx, s=s: tx.append(certificate(s))) for s in ("A", "B", "A", "C")),  # type: ignore[misc]
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [Head, Head, LedgerError, Head]
    assert (await ledger.verify()).sequence == 3


async def test_a_cancelled_request_leaves_the_writer_alive(ledger: Ledger) -> None:
    task = asyncio.create_task(ledger.write(lambda tx: tx.append(refusal())))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await append(ledger, 1)
    await ledger.verify()


async def test_what_was_asked_for_before_close_is_finished(folder: Path) -> None:
    ledger = await Ledger.open(folder)
    tasks = [asyncio.create_task(ledger.write(lambda tx: tx.append(refusal()))) for _ in range(9)]
    await asyncio.sleep(0)
    await ledger.close()
    await ledger.close()
    assert len(await asyncio.gather(*tasks)) == 9
    with pytest.raises(LedgerError, match="closed"):
        await append(ledger, 1)


async def test_closing_waits_only_so_long_for_somebody_elses_lock(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "_CLOSE_S", 0.1)
    ledger = await Ledger.open(folder)
    with closing(sqlite3.connect(folder / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(append(ledger, 1))
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await ledger.close()
        other.execute("ROLLBACK")
    assert (await waiting).sequence == 1


async def run_writer(folder: Path, who: str, count: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITER, str(folder), who, str(count)),
        stdout=asyncio.subprocess.PIPE,
    )


async def test_two_processes_append_to_one_unbroken_chain(folder: Path) -> None:
    # Neither finds a ledger: they also race for making it.
    writers = [await run_writer(folder, who, 400) for who in ("one", "other")]
    outputs = [(await writer.communicate())[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    sequences = sorted(int(line) for output in outputs for line in output.split())
    assert sequences == list(range(1, 801))
    async with await Ledger.open(folder) as ledger:
        assert (await ledger.verify()).sequence == 800


async def test_a_process_killed_while_it_writes_loses_nothing_that_it_reported(
    folder: Path,
) -> None:
    writer = await run_writer(folder, "doomed", 100_000)
    assert writer.stdout is not None
    lines = [await writer.stdout.readline() for _ in range(200)]
    writer.send_signal(signal.SIGKILL)
    lines += (await writer.stdout.read()).splitlines(keepends=True)
    await writer.wait()
    reported = max(int(line) for line in lines if line.endswith(b"\n"))
    async with await Ledger.open(folder) as ledger:
        assert (await ledger.verify()).sequence >= reported
        await append(ledger, 1)
        await ledger.verify()


async def test_an_altered_row_is_found_and_named(folder: Path, ledger: Ledger) -> None:
    await append(ledger, 5)
    altered(folder, "UPDATE entries SET body = replace(body, '2', '7') WHERE sequence = 3")
    with pytest.raises(LedgerBrokenError, match="row 3 was altered") as caught:
        await ledger.verify()
    assert caught.value.sequence == 3


@pytest.mark.parametrize("value", ["1.5", "'other'", "x'00ff'", "CAST(x'ff' AS TEXT)"])
async def test_no_column_can_be_altered_unseen(folder: Path, ledger: Ledger, value: str) -> None:
    await append(ledger, 3)
    altered(folder, "CREATE TABLE kept AS SELECT * FROM entries WHERE sequence = 2")
    for column in set(schema.entries.columns.keys()) - {"sequence"}:
        altered(folder, f"UPDATE entries SET {column} = {value} WHERE sequence = 2")
        with pytest.raises(LedgerBrokenError) as caught:
            await ledger.verify()
        assert caught.value.sequence == 2
        restored = f"SET {column} = (SELECT {column} FROM kept)"
        altered(folder, f"UPDATE entries {restored} WHERE sequence = 2")
        await ledger.verify()


async def test_rows_cut_out_and_cut_off_are_found(folder: Path, ledger: Ledger) -> None:
    head = await append(ledger, 5)
    altered(folder, "DELETE FROM entries WHERE sequence = 5")
    assert (await ledger.verify()).sequence == 4
    with pytest.raises(LedgerBrokenError, match="cut off"):
        await ledger.verify(head=head)
    with pytest.raises(LedgerBrokenError, match="cut off"):
        await append(ledger, 1)
    altered(folder, "DELETE FROM entries WHERE sequence = 2")
    with pytest.raises(LedgerBrokenError, match="row 2 is missing"):
        await ledger.verify()


@pytest.mark.parametrize(
    "forgery", ["SET name = 'x'", "SET mac = 'text'", "SET mac = zeroblob(32)", "SET mac = 5"]
)
async def test_nothing_is_added_to_a_chain_whose_last_row_is_not_ours(
    folder: Path, forgery: str
) -> None:
    async with await Ledger.open(folder) as ledger:
        await append(ledger, 2)
    altered(folder, f"UPDATE entries {forgery} WHERE sequence = 2")
    async with await Ledger.open(folder) as ledger:
        with pytest.raises(LedgerBrokenError, match="nothing is added"):
            await append(ledger, 1)


async def test_another_key_is_said_to_be_the_wrong_one(folder: Path) -> None:
    async with await Ledger.open(folder) as ledger:
        await append(ledger, 2)
    (folder / "ledger.key").write_bytes(bytes(32))
    async with await Ledger.open(folder) as ledger:
        with pytest.raises(LedgerBrokenError, match="not the ledger's key"):
            await ledger.verify()
        with pytest.raises(LedgerBrokenError, match="not this ledger's key"):
            await append(ledger, 1)


async def test_a_key_that_is_gone_is_not_made_anew(folder: Path) -> None:
    async with await Ledger.open(folder) as ledger:
        await append(ledger, 1)
    (folder / "ledger.key").unlink()
    with pytest.raises(LedgerError, match=r"ledger\.key is missing"):
        await Ledger.open(folder)
    (folder / "ledger.key").write_bytes(b"short")
    (folder / "ledger.key").chmod(0o600)
    with pytest.raises(LedgerError, match="32 bytes"):
        await Ledger.open(folder)
    (folder / "ledger.key").chmod(0o644)
    with pytest.raises(StateError, match="chmod 600"):
        await Ledger.open(folder)


async def test_a_start_killed_before_its_key_was_written_is_completed(folder: Path) -> None:
    async with await Ledger.open(folder):
        pass
    (folder / "ledger.key").unlink()
    async with await Ledger.open(folder) as ledger:
        await append(ledger, 1)


async def test_a_ledger_of_a_newer_program_is_refused_with_words(folder: Path) -> None:
    async with await Ledger.open(folder) as ledger:
        await append(ledger, 1)
    altered(folder, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LedgerError, match=r"newer asynctls \(schema 9999"):
        await Ledger.open(folder)


async def test_what_is_no_ledger_is_refused_with_words(folder: Path) -> None:
    (folder / "ledger.db").write_bytes(b"this is a letter, not a ledger" * 200)
    with pytest.raises(LedgerError, match="damaged, or no ledger"):
        await Ledger.open(folder)


async def test_a_damaged_file_is_refused_with_words(folder: Path) -> None:
    async with await Ledger.open(folder) as ledger:
        await append(ledger, 200)
    path = folder / "ledger.db"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2].ljust(len(content), b"\xff"))
    with pytest.raises(LedgerError):
        async with await Ledger.open(folder) as ledger:
            await ledger.verify()


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be opened"):
        await Ledger.open(tmp_path / "nowhere")


async def test_a_full_disk_loses_nothing_and_says_so(ledger: Ledger) -> None:
    head = await append(ledger, 3)

    def limit(connection: sqlite3.Connection, _entry: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # no less than what there is: no more pages

    sa.event.listen(ledger._store.engine, "connect", limit)
    await ledger.write(lambda tx: limit(tx.connection.connection.driver_connection, None))  # type: ignore[arg-type]
    big = refusal("x" * 100_000)
    for _ in range(2):
        results = await asyncio.gather(
            *(ledger.write(lambda tx: tx.append(big)) for _ in range(3)), return_exceptions=True
        )
        for result in results:
            assert isinstance(result, LedgerError)
            assert "the disk is full; nothing was recorded" in str(result)
    assert await ledger.verify() == head
    sa.event.remove(ledger._store.engine, "connect", limit)
    assert (await append(ledger, 1)).sequence == 4


async def test_what_is_committed_is_recorded_once_though_the_log_raises(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another program the log is that program's."""

    def broken(_row: object, _head: Head) -> None:
        raise BrokenPipeError

    with monkeypatch.context() as patch:
        patch.setattr(audit, "tell", broken)
        heads = await asyncio.gather(*(append(ledger, 1) for _ in range(3)))
    assert sorted(head.sequence for head in heads) == [1, 2, 3]
    assert (await append(ledger, 1)).sequence == 4


async def test_a_fault_of_the_writer_is_told_to_who_waits_and_ends_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_reach: Reach) -> None:
        raise BrokenPipeError

    async with asyncio.timeout(10):
        with monkeypatch.context() as patch:
            patch.setattr(Reach, "refusal", broken)
            with pytest.raises(LedgerError, match="BrokenPipeError"):
                await append(ledger, 1)
        assert (await append(ledger, 1)).sequence == 1


async def test_a_ledger_that_may_not_be_written_says_so(ledger: Ledger) -> None:
    await append(ledger, 1)
    await ledger.write(lambda tx: tx.connection.exec_driver_sql("PRAGMA query_only = ON").close())
    with pytest.raises(LedgerError, match="read-only"):
        await append(ledger, 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_folder_that_may_not_be_written_is_said_to_be_so(folder: Path) -> None:
    await asyncio.to_thread(folder.chmod, 0o500)
    with pytest.raises(LedgerError, match="this user can write"):
        await Ledger.open(folder)


def test_an_admin_verb_on_sqlite_imports_no_other_dialect_and_no_metrics() -> None:
    unwanted = ("sqlalchemy.dialects.postgresql", "prometheus_client")
    code = (
        "import sys; import asynctls.cli.ttp, asynctls.ttp.authority, asynctls.ttp.sqlite; "
        f"print([name for name in sys.modules if name.startswith({unwanted})])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
