"""The root's CRL stays current by itself, or a person is asked for the next one in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from asynctls.config import TTPConfig
from asynctls.errors import LedgerError
from asynctls.pki.profiles import Issuer
from asynctls.pki.status import sign_crl
from asynctls.ttp import ca, clock, status
from asynctls.ttp.authority import Authority
from asynctls.ttp.keyfiles import KeyFiles
from asynctls.ttp.reminders import Reminder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.conftest import LogWatch

DAY = timedelta(days=1)
START = datetime.now(UTC).replace(microsecond=0)
ASKED = "the root's CRL must be renewed by hand"
ENDED = "the root's CRL has ended"


@pytest.fixture
async def authority(tmp_path: Path) -> AsyncIterator[Authority]:
    config = TTPConfig(
        state=tmp_path / "ttp", root_key_type="ecdsa-p256", issuing_key_type="ecdsa-p256"
    )
    async with await Authority.open(config) as opened:
        yield opened


@pytest.fixture
def rounds_at(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> Callable[[timedelta], Awaitable[None]]:
    """``await rounds_at(DAY)``: the daemon's upkeep that long after the start."""

    async def look(later: timedelta) -> None:
        monkeypatch.setattr(clock, "now", lambda: START + later)
        # The first signs the issuing CA's CRL, which the second sees.
        for _ in range(2):
            await authority.look_after()

    return look


async def held(authority: Authority) -> tuple[datetime, datetime]:
    crl = (await authority.count_rows(after=0)).root_crl
    assert crl is not None
    return crl.this_update, crl.next_update


async def test_with_the_roots_key_here_it_is_signed_before_anybody_asks(
    authority: Authority, rounds_at: Callable[[timedelta], Awaitable[None]], logged: LogWatch
) -> None:
    first = await held(authority)
    await rounds_at(80 * DAY)
    assert await held(authority) == first
    await rounds_at(91 * DAY)
    assert await held(authority) == (START + 91 * DAY, START + (91 + 180) * DAY)
    assert not logged.named(ASKED, ENDED)


async def test_with_the_roots_key_elsewhere_a_person_is_asked_and_louder_after_the_end(
    authority: Authority, rounds_at: Callable[[timedelta], Awaitable[None]], logged: LogWatch
) -> None:
    keys = KeyFiles(authority.folder)
    key = keys.read(ca.ROOT)
    assert key is not None
    keys.remove(ca.ROOT)
    await rounds_at(119 * DAY)
    assert not logged.named(ASKED, ENDED)
    for day, times in ((121, 1), (122, 1), (130, 2), (170, 3), (179, 4)):
        await rounds_at(day * DAY)
        assert len(logged.named(ASKED)) == times
    assert "ttp root --import-crl" in logged.named(ASKED)[0]["reason"]
    for day, times in ((181, 1), (182, 2), (183, 3)):
        await rounds_at(day * DAY)
        assert len(logged.named(ENDED)) == times

    now = START + 183 * DAY
    root = Issuer(authority.root, key)
    number = logged.named(ENDED)[0]["number"] + 1
    lifetime = 30 * DAY
    await authority.import_root_crl(
        sign_crl(root, number=number, revoked=[], now=now, lifetime=lifetime)
    )
    await rounds_at(184 * DAY)
    await rounds_at(200 * DAY)
    assert (len(logged.named(ASKED)), len(logged.named(ENDED))) == (4, 3)
    await rounds_at(204 * DAY)
    assert len(logged.named(ASKED)) == 5


def test_what_has_ended_is_said_each_day() -> None:
    reminder = Reminder()
    said = [days for days in (2, 1, 0, -0.5, -1, -1.5, -2) if reminder.is_due(days * DAY)]
    assert said == [2, 1, 0, -1, -2]


async def test_an_export_whose_row_was_not_recorded_is_done_again_into_the_same_file(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_given: object, **_named: object) -> None:
        raise LedgerError("the disk is full")

    file = tmp_path / "root.key"
    with monkeypatch.context() as patched:
        patched.setattr(status, "sign_root", fail)
        with pytest.raises(LedgerError, match="disk is full"):
            await authority.export_root_key(file)
    assert KeyFiles(authority.folder).read(ca.ROOT) is not None
    await authority.export_root_key(file)
    assert KeyFiles(authority.folder).read(ca.ROOT) is None
    key = KeyFiles(tmp_path).read("root")
    assert key is not None
    assert key.public_key() == authority.root.public_key()
