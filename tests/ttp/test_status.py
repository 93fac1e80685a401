"""The CRL is current, complete, and numbered by the ledger."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from asynctls.config import TTPConfig
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.names import format_serial
from asynctls.pki.profiles import Profile
from asynctls.pki.requests import build_request
from asynctls.pki.status import RevocationList, read_crl
from asynctls.ttp.authority import Authority
from asynctls.ttp.crls import SignedCRL
from asynctls.ttp.status import is_due, parse_reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def crl_of(authority: Authority) -> RevocationList:
    return read_crl(authority.crl_der, authority.ca_certificates[0])


def lifetime_of(authority: Authority) -> timedelta:
    crl = crl_of(authority)
    return crl.next_update - crl.this_update


async def revoked(authority: Authority, lifetime: timedelta) -> int:
    token_id, secret = await authority.create_token(
        "server", profile=Profile.SERVER, ttl=HOUR, lifetime=lifetime
    )
    certificate = await authority.enrol(
        token_id,
        secret.reveal().decode(),
        build_request(generate_now(KeyType.ECDSA_P256)),
        address="127.0.0.1",
    )
    await authority.revoke(format_serial(certificate.serial_number))
    return certificate.serial_number


async def test_a_ttp_that_starts_has_a_current_crl(authority: Authority) -> None:
    crl = crl_of(authority)
    assert crl.serials == frozenset()
    assert crl.next_update - crl.this_update == timedelta(hours=24)
    # Behind it stands the certificate that its issuing CA's OCSP responder answers with.
    assert crl.number == (await authority.verify()).sequence - 1


async def test_it_is_signed_anew_each_hour_and_not_before(
    authority: Authority, later: Callable[[timedelta], None]
) -> None:
    first = crl_of(authority)
    later(timedelta(minutes=59))
    await authority.look_after()
    assert crl_of(authority) == first
    later(HOUR)
    await authority.look_after()
    second = crl_of(authority)
    assert second.number > first.number
    assert second.this_update > first.this_update


async def test_a_clock_set_back_does_not_leave_a_crl_of_the_future(
    authority: Authority, later: Callable[[timedelta], None]
) -> None:
    first = crl_of(authority)
    later(-HOUR)
    await authority.look_after()
    assert crl_of(authority).this_update < first.this_update
    assert crl_of(authority).number > first.number


async def test_a_crl_that_was_signed_by_other_settings_is_replaced_at_once(
    tmp_path: Path, authority: Authority
) -> None:
    # With these settings the day-long CRL of the TTP beside would end before the next is signed.
    config = TTPConfig(state=tmp_path / "ttp", crl_lifetime=7 * DAY, crl_interval=2 * DAY)
    async with await Authority.open(config) as daemon:
        assert lifetime_of(daemon) == 7 * DAY
        serial = await revoked(authority, HOUR)
        assert lifetime_of(authority) == DAY
        await daemon.look_after()
        assert lifetime_of(daemon) == 7 * DAY
        assert crl_of(daemon).serials == {serial}


async def test_of_two_that_find_it_due_one_signs(
    authority: Authority, later: Callable[[timedelta], None]
) -> None:
    later(HOUR)
    before = (await authority.verify()).sequence
    await asyncio.gather(*(authority.look_after() for _ in range(5)))
    assert (await authority.verify()).sequence == before + 1


async def test_a_certificate_stays_listed_until_one_crl_past_its_end(
    authority: Authority, later: Callable[[timedelta], None]
) -> None:
    serial = await revoked(authority, HOUR)
    assert crl_of(authority).serials == {serial}
    later(timedelta(hours=24))
    await authority.look_after()
    assert crl_of(authority).serials == {serial}
    later(timedelta(hours=25, seconds=5))
    await authority.look_after()
    assert crl_of(authority).serials == frozenset()


async def test_the_roots_crl_is_signed_anew_at_half_its_time(
    authority: Authority, later: Callable[[timedelta], None]
) -> None:
    root = authority.root
    first = read_crl(await authority.root_crl_der(), root)
    assert read_crl(await authority.root_crl_der(), root) == first
    later(timedelta(days=91))
    second = read_crl(await authority.root_crl_der(), root)
    assert second.number > first.number
    assert read_crl(await authority.sign_root_crl(), root).number > second.number


@pytest.mark.parametrize(
    ("age", "due"),
    [(timedelta(0), False), (HOUR - timedelta(seconds=1), False), (HOUR, True), (-HOUR, True)],
)
def test_a_crl_is_due_by_its_age(age: timedelta, *, due: bool) -> None:
    crl = SignedCRL(1, NOW - age, NOW - age + DAY, b"")
    assert is_due(crl, interval=HOUR, lifetime=DAY, now=NOW) == due


def test_without_a_crl_one_is_due() -> None:
    assert is_due(None, interval=HOUR, lifetime=DAY, now=NOW)


def test_reasons_are_rfc_5280s_in_any_case() -> None:
    assert parse_reason("KEYCOMPROMISE") == "keyCompromise"
    assert parse_reason("unspecified") == "unspecified"
