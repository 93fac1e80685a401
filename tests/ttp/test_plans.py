"""However many rows the ledger has, what is looked up in it is found by an index."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.pki.names import format_serial
from asynctls.pki.profiles import Profile
from asynctls.ttp import approvals, crls, details, lists, ocsp, records, transactions
from asynctls.ttp.ledger import Ledger
from asynctls.ttp.policy import Grant
from asynctls.ttp.records import StoredToken
from asynctls.ttp.uses import uses_by

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import sqlalchemy as sa

pytestmark = pytest.mark.one_loop

NOW = datetime.now(UTC)
# Asked only for a certificate that is there.
NOBODY: Any = None
SERIAL = format_serial(0xAB)
# SQLite's words for an index, and for going through rows from their newest or from a given one on.
BY_INDEX = "USING INDEX "
FROM_ONE_ON = "USING INTEGER PRIMARY KEY (rowid>?)"

LOOKED_UP: dict[str, Any] = {
    "a token": lambda c: records.token_by_id(c, "id"),
    "the unused tokens of a name": lambda c: records.unused_tokens(c, "name", NOW),
    "a certificate": lambda c: records.certificate_by_serial(c, SERIAL),
    "a renewal": lambda c: records.renewal_by_key(c, SERIAL, b"key"),
    "the valid certificates of a name": lambda c: records.valid_certificates(c, "name", NOW),
    "one of the TTP's own": lambda c: records.has_own_certificate(c, SERIAL),
    "a CRL": lambda c: crls.latest(c, "ca"),
    "a CRL's number": lambda c: crls.latest_number(c, "ca"),
    "a request": lambda c: approvals.request_by_key(c, "id", b"key"),
    "what show tells of a serial number": lambda c: details._by_serial(c, SERIAL, NOW),
    "how a certificate stands": lambda c: ocsp._status_of(c, NOBODY, 0xAB),
}
OF_ITS_KIND_ALONE: dict[str, Any] = {
    "the TTP's own certificates": lambda c: records.own_certificates(c, "root"),
    "their number": lambda c: records.count_own_certificates(c, "root"),
    "what waits for a person": lambda c: approvals.waiting_requests(c, NOW),
    "what a CRL lists": lambda c: crls.revocations(c, "ca", is_first=False, ended_after=NOW),
}


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    async with await Ledger.open(folder) as opened:
        yield opened


async def plan_of(ledger: Ledger, query: Callable[[sa.Connection], object]) -> list[str]:
    """How SQLite goes about it, a line for each table."""

    def explain(connection: sa.Connection) -> list[str]:
        asked: list[str] = []
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(asked.append)
        query(connection)
        driver.set_trace_callback(None)
        return [
            line[3]
            for statement in asked
            if statement.lstrip().startswith("SELECT")
            for line in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")
            if line[3].startswith(("SCAN", "SEARCH"))
        ]

    return await ledger.read(explain)


@pytest.mark.parametrize("what", LOOKED_UP)
async def test_it_is_found_by_an_index(ledger: Ledger, what: str) -> None:
    lines = await plan_of(ledger, LOOKED_UP[what])
    assert lines
    for line in lines:
        assert line.startswith("SEARCH"), line
        assert BY_INDEX in line


@pytest.mark.parametrize("what", OF_ITS_KIND_ALONE)
async def test_only_rows_of_its_kind_are_gone_through(ledger: Ledger, what: str) -> None:
    lines = await plan_of(ledger, OF_ITS_KIND_ALONE[what])
    assert lines
    assert all(BY_INDEX in line for line in lines), lines


@pytest.mark.parametrize("only", [None, "valid", "expired", "revoked"])
async def test_a_list_goes_on_where_its_page_before_ended(ledger: Ledger, only: Any) -> None:
    first, *others = await plan_of(ledger, lambda c: lists.page_of(c, only, after=1000, now=NOW))
    assert FROM_ONE_ON in first
    assert all(line.startswith("SEARCH") and BY_INDEX in line for line in others)


@pytest.mark.parametrize("approve", [False, True])
async def test_how_far_a_token_is_used_up_is_counted_in_an_index(
    ledger: Ledger, *, approve: bool
) -> None:
    grant = Grant("name", ("name",), Profile.PEER, timedelta(hours=1))
    token = StoredToken("id", grant, NOW, b"", None, used=True, uses=0, approve=approve)
    lines = await plan_of(ledger, lambda c: uses_by(c, token, b"key"))
    by_key = [line for line in lines if "(token_id=? AND spki_sha256=?)" in line]
    assert by_key
    # From 3.41 on, SQLite says that the index covers what is counted.
    counted = {line.replace("COVERING ", "") for line in lines}
    assert "SEARCH entries USING INDEX one_certificate_a_token_key (token_id=?)" in counted
    by_request = "SEARCH entries USING INDEX one_request_a_token_key (token_id=?)"
    assert (by_request in counted) is approve


async def test_of_a_token_that_nobody_used_nothing_more_is_looked_up(ledger: Ledger) -> None:
    grant = Grant("name", ("name",), Profile.PEER, timedelta(hours=1))
    token = StoredToken("id", grant, NOW, b"", None, used=False)
    assert await plan_of(ledger, lambda c: uses_by(c, token, b"key")) == []


async def test_rows_are_counted_from_the_last_count_on(ledger: Ledger) -> None:
    lines = await plan_of(ledger, lambda c: records.count_rows(c, after=1000, root="ca"))
    assert all(line.startswith("SEARCH") for line in lines)


async def test_the_head_is_the_first_row_from_the_end(ledger: Ledger) -> None:
    assert await plan_of(ledger, transactions.head_of) == ["SCAN entries"]
    assert "ORDER BY sequence DESC LIMIT 1" in str(transactions._heads._statement)
