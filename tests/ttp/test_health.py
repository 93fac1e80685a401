"""/healthz says ok while the TTP can do its work, and else what is wrong, to anybody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from asynctls.errors import CertificateError, LedgerError
from asynctls.ttp.crls import SignedCRL
from asynctls.ttp.health import LONGEST_S, Upkeep, crl_troubles
from tests.ttp.test_service import Program, daemon_in, output

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_upkeep_is_well_until_it_fails_and_again_when_it_works() -> None:
    upkeep = Upkeep()
    assert upkeep.troubles() == []
    upkeep.failed(LedgerError("/var/lib/asynctls/ledger.db cannot be read"))
    assert upkeep.troubles() == ["the ledger cannot be used: the TTP's log says why"]
    upkeep.failed(CertificateError("the key is gone"))
    assert upkeep.troubles() == ["the TTP's upkeep fails: its log says why"]
    upkeep.done()
    assert upkeep.troubles() == []


def test_upkeep_that_hangs_is_found_by_its_age() -> None:
    now = [100.0]
    upkeep = Upkeep(clock=lambda: now[0])
    now[0] += LONGEST_S
    assert upkeep.troubles() == []
    now[0] += 1
    assert upkeep.troubles() == ["the ledger has not answered for 16 s"]


def test_a_crl_is_current_until_its_next_update() -> None:
    crl = SignedCRL(7, NOW - timedelta(hours=24), NOW, b"")
    assert crl_troubles(None, NOW) == ["there is no CRL yet"]
    assert crl_troubles(crl, NOW - timedelta(seconds=1)) == []
    assert crl_troubles(crl, NOW) == ["the CRL ended on 2026-03-01 00:00:00 UTC"]


@pytest.mark.one_loop
async def test_a_ledger_that_cannot_be_read_is_a_503_until_it_can(
    tmp_path: Path, program: Program
) -> None:
    curl = program("curl")
    async with daemon_in(tmp_path / "ttp") as daemon:
        await daemon.token("server")
        root = daemon.config.state / "root-for-curl.pem"
        ask = (curl, "-sS", "-i", "--cacert", root, f"https://{daemon.address}/healthz")
        told = await output(*ask)
        assert told.startswith("HTTP/1.1 200 ")
        assert told.endswith("\r\n\r\nok\n")
        ledger = daemon.config.state / "ledger.db"
        ledger.rename(ledger.with_suffix(".away"))
        ledger.mkdir()
        await daemon.until("the TTP's own upkeep failed; it is tried again")
        told = await output(*ask)
        assert told.startswith("HTTP/1.1 503 ")
        assert "Cache-Control: no-store\r\n" in told
        assert told.endswith("\r\n\r\nthe ledger cannot be used: the TTP's log says why\n")
        ledger.rmdir()
        ledger.with_suffix(".away").rename(ledger)
        await daemon.until("the TTP's own upkeep works again")
        assert (await output(*ask)).startswith("HTTP/1.1 200 ")
        assert await daemon.stop() == 0
