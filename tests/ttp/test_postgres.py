"""On PostgreSQL the ledger is the same ledger, shared by several TTPs, through its restarts too."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from asynctls.config import SecretText
from asynctls.errors import LedgerBrokenError, LedgerError
from asynctls.ttp import schema, writer
from asynctls.ttp.chain import EMPTY, Head, Value
from asynctls.ttp.ledger import Ledger
from asynctls.ttp.schema import Kind, RefusalBody, row_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asynctls.ttp.transactions import Transaction
    from tests.conftest import LogWatch
    from tests.postgresql import Database

pytestmark = pytest.mark.one_loop

WRITER = """
import asyncio, sys
from pathlib import Path
import structlog
from asynctls.config import SecretText
from asynctls.ttp.ledger import Ledger
from asynctls.ttp.schema import Kind, RefusalBody, row_of

async def main(folder: str, url: str, count: int) -> None:
    async with await Ledger.open(Path(folder), database=SecretText(url)) as ledger:
        async def some(n: int) -> None:
            for _ in range(n):
                body = RefusalBody(rule="r", reason="", address="a")
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


async def append(ledger: Ledger, count: int) -> Head:
    head = EMPTY
    for n in range(count):
        row = refusal(str(n))
        head = await ledger.write(lambda tx, row=row: tx.append(row))  # type: ignore[misc]
    return head


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir(mode=0o700)
    return made


async def opened(folder: Path, postgres: Database) -> Ledger:
    return await Ledger.open(folder, database=SecretText(postgres.url))


@pytest.fixture
async def ledger(folder: Path, postgres: Database) -> AsyncIterator[Ledger]:
    async with await opened(folder, postgres) as ledger:
        yield ledger


async def test_what_is_written_is_there_after_opening_again(
    folder: Path, postgres: Database
) -> None:
    async with await opened(folder, postgres) as ledger:
        head = await append(ledger, 3)
        assert await ledger.head() == head
    assert os.listdir(folder) == ["ledger.key"]  # noqa: PTH208 - does not block for long
    async with await opened(folder, postgres) as ledger:
        assert await ledger.verify() == head
        assert (await append(ledger, 1)).sequence == 4
        assert (await ledger.verify(head=head)).sequence == 4


async def test_the_migrated_schema_is_the_one_that_the_program_declares(ledger: Ledger) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def differences(connection: sa.Connection) -> list[object]:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == schema.REVISION
        return list(compare_metadata(context, schema.metadata()))

    def partial_indexes(connection: sa.Connection) -> set[tuple[str, str]]:
        found = connection.exec_driver_sql("SELECT indexname, indexdef FROM pg_indexes")
        return {(name, line) for name, line in found if " WHERE " in line}

    assert await ledger.read(differences) == []
    declared = {index.name for index in schema.entries.indexes}
    assert {name for name, _ in await ledger.read(partial_indexes)} == declared


async def test_an_operation_that_fails_does_not_spoil_its_group(ledger: Ledger) -> None:
    def late(tx: Transaction) -> Head:
        tx.append(refusal("to be undone"))
        raise KeyError("after it wrote")

    def good(tx: Transaction) -> Head:
        return tx.append(refusal("kept"))

    def a_zero_byte(tx: Transaction) -> Head:
        return tx.append(refusal(token_id="\0"))

    def twice(tx: Transaction) -> Head:
        row = {**refusal(serial="A"), "kind": Kind.CERTIFICATE_ISSUED.value}
        tx.append(row)
        return tx.append(row)

    operations = [good, late, good, a_zero_byte, good, twice, good]
    results = await asyncio.gather(*map(ledger.write, operations), return_exceptions=True)
    wanted = [Head, KeyError, Head, LedgerError, Head, LedgerError, Head]
    assert [type(result) for result in results] == wanted
    assert (await ledger.verify()).sequence == 4


async def test_replicas_append_to_one_unbroken_chain(folder: Path, postgres: Database) -> None:
    async with await opened(folder, postgres):
        pass
    words = ("-c", WRITER, str(folder), postgres.url, "400")
    writers = [
        await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [(await writer.communicate())[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    sequences = sorted(int(line) for output in outputs for line in output.split())
    assert sequences == list(range(1, 801))
    async with await opened(folder, postgres) as ledger:
        assert (await ledger.verify()).sequence == 800


async def test_replicas_killed_while_they_write_lose_nothing_that_they_reported(
    folder: Path, postgres: Database
) -> None:
    async with await opened(folder, postgres):
        pass
    words = ("-c", WRITER, str(folder), postgres.url, "100000")
    reported = 0
    for _ in range(3):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        lines = [await writer.stdout.readline() for _ in range(50)]
        writer.kill()
        lines += (await writer.stdout.read()).splitlines(keepends=True)
        await writer.wait()
        reported = max(int(line) for line in lines if line.endswith(b"\n"))
    async with await opened(folder, postgres) as ledger:
        assert (await ledger.verify()).sequence >= reported
        await append(ledger, 1)


@pytest.mark.parametrize("end", ["stop", "crash"])
async def test_a_restart_of_postgresql_is_survived(
    folder: Path, postgres: Database, end: str, logged: LogWatch
) -> None:
    async with await opened(folder, postgres) as ledger:
        await append(ledger, 1)
        await asyncio.to_thread(getattr(postgres.server, end))
        try:
            writing = [asyncio.create_task(append(ledger, 1)) for _ in range(20)]
            await logged.until("ledger out of reach")
        finally:
            await asyncio.to_thread(postgres.server.start)
        heads = await asyncio.gather(*writing)
        assert sorted(head.sequence for head in heads) == list(range(2, 22))
        assert (await ledger.verify()).sequence == 21


async def test_a_postgresql_that_stays_away_is_named_and_its_password_is_not(
    folder: Path, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_PATIENCE_S", 0.2)
    url = postgres.url.replace("postgres@", "postgres:hunter2@")
    async with await Ledger.open(folder, database=SecretText(url)) as ledger:
        await append(ledger, 1)
        postgres.server.stop()
        try:
            with capture_logs() as events:
                for doing in (append(ledger, 1), ledger.head(), ledger.verify()):
                    with pytest.raises(LedgerError, match="cannot be reached") as caught:
                        await doing
                    assert "hunter2" not in str(caught.value)
            assert "hunter2" not in str(events)
            with pytest.raises(LedgerError, match="cannot be reached"):
                await Ledger.open(folder, database=SecretText(url))
        finally:
            postgres.server.start()
        assert (await append(ledger, 1)).sequence == 2


def break_at_commit(ledger: Ledger, *, kept: bool = True) -> None:
    """The connection ends after, or before, the next commit has reached PostgreSQL."""

    def broken(connection: sa.Connection) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        if kept:
            driver.commit()
        driver.close()

    sa.event.listen(ledger._store.engine, "commit", broken, once=True)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_commit_whose_answer_is_lost_is_looked_for_and_never_made_twice(
    folder: Path, postgres: Database, *, kept: bool
) -> None:
    """The connection ends after, or before, the commit reached PostgreSQL; both look the same."""
    runs = 0

    def operation(tx: Transaction) -> Head:
        nonlocal runs
        runs += 1
        return tx.append(refusal("once"))

    async with await opened(folder, postgres) as ledger:
        await append(ledger, 1)
        break_at_commit(ledger, kept=kept)
        with capture_logs() as events:
            head = await ledger.write(operation)
        assert head.sequence == 2
        assert runs == (1 if kept else 2)
        appended = [event for event in events if event["event"] == "audit"]
        assert [event["head"] for event in appended] == [str(head)]
        assert await ledger.verify() == head


@pytest.mark.parametrize("kept", [True, False])
async def test_what_joined_a_transaction_that_is_lost_is_done_with_it(
    folder: Path, postgres: Database, *, kept: bool
) -> None:
    begun, held = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> Head:
        begun.set()
        held.wait(20)
        return tx.append(refusal("first"))

    async with await opened(folder, postgres) as ledger:
        break_at_commit(ledger, kept=kept)
        asked = [ledger._writer.submit(slow)]
        await asyncio.to_thread(begun.wait, 20)
        asked.append(ledger._writer.submit(lambda tx: tx.append(refusal("joined"))))
        await asyncio.sleep(0)
        held.set()
        async with asyncio.timeout(20):
            heads = await asyncio.gather(*asked)
        assert [head.sequence for head in heads] == [1, 2]
        assert await ledger.verify() == heads[-1]


async def test_a_commit_in_doubt_is_its_own_askers_though_another_database_answers_meanwhile(
    folder: Path, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the new connection leads to cannot be used at first; who asks next gets its own row."""

    def unusable(*_: object) -> sa.Connection:
        raise LedgerError("it is of another encoding")

    async with await opened(folder, postgres) as ledger:
        await append(ledger, 1)
        break_at_commit(ledger)
        with monkeypatch.context() as patched:
            patched.setattr(type(ledger._store), "connect", unusable)
            with pytest.raises(LedgerError, match="encoding; whether the last rows were recorded"):
                await append(ledger, 1)
        async with asyncio.timeout(10):
            head = await append(ledger, 1)
        assert head.sequence == 3
        assert await ledger.verify() == head


async def test_an_altered_row_is_found_and_named(postgres: Database, ledger: Ledger) -> None:
    head = await append(ledger, 5)
    postgres.execute("CREATE TABLE kept AS SELECT * FROM entries WHERE sequence = 3")
    texts = {"kind", "token_id", "serial", "renews", "name", "body", "issuer"}
    for column in set(schema.entries.columns.keys()) - {"sequence"}:
        value = "'other'" if column in texts else "'\\x00ff'" if column != "at" else "7"
        value = "8" if column == "ends_at" else value
        postgres.execute(f"UPDATE entries SET {column} = {value} WHERE sequence = 3")
        with pytest.raises(LedgerBrokenError) as caught:
            await ledger.verify()
        assert caught.value.sequence == 3, column
        restored = f"SET {column} = (SELECT {column} FROM kept)"
        postgres.execute(f"UPDATE entries {restored} WHERE sequence = 3")
        assert await ledger.verify() == head


async def test_rows_cut_out_cut_off_and_put_in_are_found(
    postgres: Database, ledger: Ledger
) -> None:
    head = await append(ledger, 5)
    postgres.execute("DELETE FROM entries WHERE sequence = 5")
    assert (await ledger.verify()).sequence == 4
    with pytest.raises(LedgerBrokenError, match="cut off"):
        await ledger.verify(head=head)
    with pytest.raises(LedgerBrokenError, match="cut off"):
        await append(ledger, 1)
    postgres.execute(
        "INSERT INTO entries (sequence, previous, mac, kind, at, body) "
        "VALUES (5, '\\x05', '\\x06', 'certificate revoked', 1, '{}')"
    )
    with pytest.raises(LedgerBrokenError, match="row 5 was altered"):
        await ledger.verify()
    postgres.execute("DELETE FROM entries WHERE sequence = 2")
    with pytest.raises(LedgerBrokenError, match="row 2 is missing"):
        await ledger.verify()


async def test_nothing_is_added_to_a_chain_of_another_key(
    folder: Path, postgres: Database, ledger: Ledger
) -> None:
    await append(ledger, 2)
    (folder / "ledger.key").unlink()
    with pytest.raises(LedgerError, match="further TTP on this database gets it from a backup"):
        await opened(folder, postgres)
    (folder / "ledger.key").write_bytes(bytes(32))
    (folder / "ledger.key").chmod(0o600)
    async with await opened(folder, postgres) as other:
        with pytest.raises(LedgerBrokenError, match="not this ledger's key"):
            await append(other, 1)


async def test_an_empty_database_in_the_place_of_a_ledger_is_refused(
    folder: Path, postgres: Database
) -> None:
    url = SecretText(postgres.url)
    with pytest.raises(LedgerError, match="is empty, though there is a CA"):
        await Ledger.open(folder, database=url, must_exist=True)
    async with await opened(folder, postgres) as ledger:
        await append(ledger, 1)
    async with await Ledger.open(folder, database=url, must_exist=True):
        pass


async def test_a_ledger_of_a_newer_program_is_refused_with_words(
    folder: Path, postgres: Database
) -> None:
    async with await opened(folder, postgres):
        pass
    postgres.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LedgerError, match=r"newer asynctls \(schema 9999"):
        await opened(folder, postgres)


async def test_a_standby_is_said_to_be_read_only(ledger: Ledger) -> None:
    def as_on_a_standby(tx: Transaction) -> Head:
        tx.connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        return tx.append(refusal())

    with pytest.raises(LedgerError, match="it is read-only, as a standby is"):
        await ledger.write(as_on_a_standby)
    assert (await append(ledger, 1)).sequence == 1


async def test_a_user_who_owns_nothing_is_told_what_is_missing(
    folder: Path, postgres: Database
) -> None:
    postgres.execute("CREATE ROLE stranger LOGIN")
    try:
        url = postgres.url.replace("postgres@", "stranger@")
        with pytest.raises(LedgerError, match="its user may not do that"):
            await Ledger.open(folder, database=SecretText(url))
    finally:
        postgres.execute("DROP ROLE stranger")


async def test_a_database_of_another_encoding_is_refused(folder: Path, postgres: Database) -> None:
    latin = f"{postgres.name}_latin"
    postgres.execute(f"CREATE DATABASE {latin} ENCODING 'LATIN1' TEMPLATE template0")
    try:
        with pytest.raises(LedgerError, match="ENCODING 'UTF8'"):
            await Ledger.open(folder, database=SecretText(postgres.server.url(latin)))
    finally:
        postgres.execute(f"DROP DATABASE {latin}")


async def test_a_lock_that_is_never_given_back_is_named(
    folder: Path, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asynctls.ttp import postgres as module

    monkeypatch.setattr(module, "_ON_CONNECT", "SET lock_timeout = '50ms'")
    async with await opened(folder, postgres) as ledger:
        with psycopg.connect(postgres.url) as other:
            other.execute(f"SELECT pg_advisory_xact_lock({module._LOCK})".encode())
            with pytest.raises(LedgerError, match="another TTP kept it locked"):
                await append(ledger, 1)
        assert (await append(ledger, 1)).sequence == 1


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@h/d?nothing=1",
        "postgresql://[::1/hunter2",
        # As the environment has bytes that are no text.
        "postgresql://u:hunter2\udcff@h/d",
    ],
)
async def test_a_url_that_is_none_is_refused_and_not_quoted(folder: Path, url: str) -> None:
    with pytest.raises(LedgerError, match="no URL that PostgreSQL's client") as caught:
        await Ledger.open(folder, database=SecretText(url))
    assert "hunter2" not in str(caught.value)
