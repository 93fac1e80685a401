"""A PostgreSQL that is there and says nothing: frozen, or behind a network that drops everything.

Nothing waits for it without a bound, the log says so once, and what was being written when it
fell silent is neither lost nor written twice.
"""

from __future__ import annotations

import asyncio
import base64
import time
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import pytest
import sqlalchemy as sa

from asynctls.config import SecretText
from asynctls.enrolment import est_client, est_codec
from asynctls.errors import LedgerAwayError, LedgerError
from asynctls.pki.certificates import to_pem
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.profiles import Profile
from asynctls.pki.requests import build_request
from asynctls.ttp import postgres as postgres_module
from asynctls.ttp import upkeep, writer
from asynctls.ttp.ledger import Ledger
from asynctls.ttp.schema import Kind, RefusalBody, row_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from asynctls.mac import Secret
    from asynctls.ttp.chain import Head, Value
    from asynctls.ttp.transactions import Transaction
    from tests.conftest import LogWatch, RunningTTP
    from tests.postgresql import Database

T = TypeVar("T")

HOUR = timedelta(hours=1)
SILENCE_S = 0.3
# The least that libpq knows.
CONNECT_S = 2


def refusal(reason: str) -> dict[str, Value]:
    body = RefusalBody(rule="rule", reason=reason, address="127.0.0.1")
    return row_of(Kind.ENROLMENT_REFUSED, body, at=1)


async def append(ledger: Ledger, reason: str) -> Head:
    return await ledger.write(lambda tx: tx.append(refusal(reason)))


async def reasons(ledger: Ledger) -> list[str]:
    def query(connection: sa.Connection) -> list[str]:
        found = connection.exec_driver_sql("SELECT body FROM entries ORDER BY sequence")
        return [str(body) for (body,) in found]

    return await ledger.read(query)


def basic(token_id: str, secret: Secret) -> str:
    return f"Basic {base64.b64encode(f'{token_id}:'.encode() + secret.reveal()).decode()}"


async def eventually(doing: Callable[[], Awaitable[T]]) -> T:
    """What it gives once the ledger can be reached again, which takes a moment to be seen."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await doing()
            except LedgerError:
                await asyncio.sleep(0.05)


def impatient(database: Database) -> SecretText:
    return SecretText(f"{database.url}?connect_timeout={CONNECT_S}")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_module, "_SILENCE_S", SILENCE_S)
    monkeypatch.setattr(postgres_module, "_READING_S", SILENCE_S)


@pytest.fixture
async def ledger(tmp_path: Path, postgres: Database) -> AsyncIterator[Ledger]:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    async with await Ledger.open(folder, database=impatient(postgres)) as ledger:
        await append(ledger, "first")
        yield ledger


async def test_whoever_waits_is_told_in_bounded_time_and_once_in_the_log(
    postgres: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, logged: LogWatch
) -> None:
    monkeypatch.setattr(writer, "_PATIENCE_S", 0.5)
    with postgres.server.frozen():
        began = time.monotonic()
        asked = [append(ledger, str(n)) for n in range(100)]
        asked += [ledger.head() for _ in range(50)]
        told = await asyncio.gather(*asked, return_exceptions=True)
        took = time.monotonic() - began
    assert {type(each) for each in told} == {LedgerAwayError}
    assert {"cannot be reached" in str(each) for each in told} == {True}
    # A silence and a connection that is not made, for those who asked first; then nobody waits for
    # that again. (A third of all those silences: a busy machine has its part in it.)
    assert took < len(asked) * SILENCE_S / 3
    assert (await eventually(lambda: append(ledger, "after"))).sequence == 2
    assert len(logged.named("ledger out of reach")) == 1
    assert len(logged.named("ledger reached again")) == 1


@pytest.mark.parametrize("patient", [True, False])
async def test_a_commit_that_it_froze_in_is_kept_once(
    postgres: Database,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    logged: LogWatch,
    *,
    patient: bool,
) -> None:
    """It had the commit already; we gave up waiting for the answer, and asked again, or did not."""
    runs = 0

    def operation(tx: Transaction) -> Head:
        nonlocal runs
        runs += 1
        return tx.append(refusal("once"))

    if not patient:
        monkeypatch.setattr(writer, "_PATIENCE_S", 0.1)
    with ExitStack() as freezing:

        def freeze(_connection: sa.Connection) -> None:
            freezing.enter_context(postgres.server.frozen())

        sa.event.listen(ledger._store.engine, "commit", freeze, once=True)
        writing = asyncio.create_task(ledger.write(operation))
        if patient:
            await logged.until("ledger out of reach")
            freezing.close()
            assert (await writing).sequence == 2
        else:
            with pytest.raises(LedgerError, match="whether the last rows were recorded is not"):
                await writing
            freezing.close()
        assert (await eventually(lambda: append(ledger, "after"))).sequence == 3
    assert runs == 1
    assert ["once" in each for each in await reasons(ledger)] == [False, True, False]
    # Its audit event comes all the same, once, and in its place.
    told = [each["head"].split(":")[0] for each in logged.named("audit")]
    assert told == ["2", "3"]
    assert len(logged.named("ledger out of reach")) == 1
    assert len(logged.named("ledger reached again")) == 1


async def test_the_ttp_says_so_over_http_and_goes_on_when_it_is_back(
    tmp_path: Path,
    postgres: Database,
    running_ttp: RunningTTP,
    monkeypatch: pytest.MonkeyPatch,
    logged: LogWatch,
) -> None:
    monkeypatch.setattr(writer, "_PATIENCE_S", 0.5)
    monkeypatch.setattr(upkeep, "_AFTER_FAILURE_S", 0.1)
    async with running_ttp(tmp_path / "ttp", ledger=impatient(postgres)) as ttp:
        token_id, secret = await ttp.authority.create_token(
            "server", profile=Profile.SERVER, ttl=HOUR, lifetime=HOUR
        )
        enrolling = (
            est_codec.SIMPLE_ENROLL,
            est_codec.encode(build_request(generate_now(KeyType.ECDSA_P256))),
        )
        headers = (
            ("Authorization", basic(token_id, secret)),
            ("Content-Type", est_codec.REQUEST_TYPE),
        )
        trust = to_pem(ttp.authority.root, *ttp.authority.ca_certificates)
        async with est_client.connect(ttp.address, trust=trust) as http:
            with postgres.server.frozen():
                answer = await http.post(*enrolling, headers=headers)
                assert (answer.status, answer.header("Retry-After")) == (503, "5")
                assert answer.body == b"the ledger cannot be used now: try again\n"
                async with asyncio.timeout(10):
                    while (answer := await http.get(est_codec.HEALTH)).status == 200:
                        pass
                assert answer.status == 503
                assert answer.body.startswith(b"the ledger cannot be used")
                # What needs no ledger is there as before.
                assert (await http.get(est_codec.CACERTS)).status == 200
                assert (await http.get(est_codec.CRL)).status == 200
            async with asyncio.timeout(10):
                while (await http.get(est_codec.HEALTH)).status == 503:
                    pass
            assert (await http.post(*enrolling, headers=headers)).status == 200
        assert len(await ttp.authority.list_certificates()) == 1
        await ttp.authority.verify()
    for event in ("ledger out of reach", "ledger reached again"):
        assert len(logged.named(event)) == 1
    # Each in so many words once, and without a traceback.
    assert len(logged.named("request not answered")) == 1
    assert logged.named("request failed", "the TTP's own upkeep failed; it is tried again") == []
