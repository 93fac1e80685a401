"""The issuing CA's successor comes in time, and nobody is cut off."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynctls.config import TTPConfig
from asynctls.enrolment import est_codec
from asynctls.enrolment.connection import certificates_in
from asynctls.errors import CertificateError, StateError
from asynctls.http import Request, Response
from asynctls.mac import Secret
from asynctls.pki.certificates import certificates_from_pem, check_issued_by, to_der
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.names import format_serial
from asynctls.pki.profiles import Profile, key_id_text
from asynctls.pki.requests import build_request
from asynctls.pki.status import read_crl
from asynctls.ttp import clock, sealing, succession
from asynctls.ttp.authority import Authority
from asynctls.ttp.ca import PUBLISHED_FIRST, CertificateAuthority
from asynctls.ttp.est import EST, Asker
from asynctls.ttp.keyfiles import KeyFiles
from asynctls.ttp.reminders import Reminder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from cryptography import x509

    from tests.conftest import LogWatch

pytestmark = pytest.mark.one_loop

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LIFETIME = 90 * DAY
DUE = 60 * DAY
HERE = "127.0.0.1:5555"
KEY = generate_now(KeyType.ECDSA_P256)


@pytest.fixture
def config(tmp_path: Path) -> TTPConfig:
    return TTPConfig(
        state=tmp_path / "ttp",
        root_key_type="ecdsa-p256",
        issuing_key_type="ecdsa-p256",
        issuing_lifetime=LIFETIME,
    )


@pytest.fixture
async def authority(config: TTPConfig) -> AsyncIterator[Authority]:
    async with await Authority.open(config) as opened:
        yield opened


async def issued(authority: Authority, lifetime: timedelta = 10 * DAY) -> x509.Certificate:
    token_id, secret = await authority.create_token(
        "peer", profile=Profile.PEER, ttl=HOUR, lifetime=lifetime
    )
    return await authority.enrol(
        token_id, secret.reveal().decode(), build_request(KEY), address=HERE
    )


def handed_out(authority: Authority) -> list[x509.Certificate]:
    return list(authority.ca_certificates)


def issuer_of(certificate: x509.Certificate, authority: Authority) -> int:
    """Its issuer's place in what /cacerts hands out."""
    return [each.subject for each in authority.ca_certificates].index(certificate.issuer)


async def test_the_successor_is_published_first_and_issues_later(
    authority: Authority, later: Callable[[timedelta], None]
) -> None:
    first, root = authority.ca_certificates
    later(DUE - timedelta(minutes=1))
    await authority.look_after()
    assert handed_out(authority) == [first, root]

    later(DUE)
    await authority.look_after()
    second = handed_out(authority)[1]
    assert handed_out(authority) == [first, second, root]
    check_issued_by(second, root)
    assert second.subject != first.subject
    assert second.public_key() != first.public_key()
    crl = authority.crl_of(key_id_text(second))
    assert crl is not None
    assert read_crl(crl.der, second).serials == frozenset()
    assert issuer_of(await issued(authority), authority) == 0

    later(DUE + PUBLISHED_FIRST)
    await authority.look_after()
    assert handed_out(authority) == [second, first, root]
    check_issued_by(await issued(authority), second)
    assert authority.tls_certificate is not None
    chain = certificates_from_pem(await asyncio.to_thread(authority.tls_chain.read_bytes))
    assert chain == (authority.tls_certificate, second)
    check_issued_by(authority.tls_certificate, second)

    later(LIFETIME + timedelta(seconds=1))
    await authority.look_after()
    assert handed_out(authority) == [second, root]
    await authority.verify()


async def test_the_cas_are_sent_again_once_one_has_come_or_gone(
    authority: Authority, later: Callable[[timedelta], None]
) -> None:
    est = EST(authority)

    async def asked(tag: str | None) -> Response:
        held = () if tag is None else (("If-None-Match", tag),)
        return await est.answer(Request("GET", est_codec.CACERTS, held), Asker(HERE, None))

    one = await asked(None)
    later(DUE)
    await authority.look_after()
    two = await asked(one.header("ETag"))
    assert set(certificates_in(two)) == set(authority.ca_certificates)
    # The second issues now, and stands first: they are the same, and so is every byte.
    later(DUE + PUBLISHED_FIRST)
    await authority.look_after()
    assert (await asked(two.header("ETag"))).status == 304
    assert (await asked(None)).body == two.body
    later(LIFETIME + timedelta(seconds=1))
    await authority.look_after()
    last = await asked(two.header("ETag"))
    assert set(certificates_in(last)) == set(authority.ca_certificates)
    assert len({each.header("ETag") for each in (one, two, last)}) == 3


async def test_what_the_old_ca_issued_can_be_revoked_while_the_new_one_issues(
    authority: Authority, later: Callable[[timedelta], None]
) -> None:
    later(DUE)
    old = await issued(authority)
    await authority.look_after()
    later(DUE + PUBLISHED_FIRST)
    await authority.look_after()
    new = await issued(authority)
    second, first, _ = authority.ca_certificates
    await authority.revoke(format_serial(old.serial_number))
    lists = {}
    for ca in (first, second):
        crl = authority.crl_of(key_id_text(ca))
        assert crl is not None
        lists[ca] = read_crl(crl.der, ca).serials
    assert lists == {first: {old.serial_number}, second: frozenset()}
    await authority.revoke(format_serial(new.serial_number))
    assert read_crl(authority.crl_der, second).serials == {new.serial_number}
    renewed = await issued(authority)
    assert issuer_of(renewed, authority) == 0


async def test_nothing_is_revoked_where_no_crl_would_say_so(
    authority: Authority, later: Callable[[timedelta], None]
) -> None:
    later(DUE)
    await authority.look_after()
    later(DUE + PUBLISHED_FIRST)
    await authority.look_after()
    serial = format_serial((await issued(authority)).serial_number)
    cas = authority._care.cas
    # As in the state folder of another TTP of this ledger that has not run since.
    authority._care.cas = CertificateAuthority.of(
        cas.root, cas.root_key, cas.taken_up[:1], now=clock.now()
    )
    with pytest.raises(CertificateError, match="is not in this state folder yet"):
        await authority.revoke(serial)
    authority._care.cas = cas
    assert await authority.revoke(serial) == [serial]


async def test_what_one_round_of_upkeep_failed_to_take_up_the_next_one_does(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    await authority.look_after()
    await issued(authority)

    async def fail(**_: object) -> None:
        raise StateError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(authority._care, "_look_at_cas", fail)
        for _ in range(2):
            with pytest.raises(StateError, match="the disk is full"):
                await authority.look_after()
    await authority.look_after()


async def test_a_certificate_of_the_old_ca_is_renewed_by_the_new_one(
    authority: Authority, later: Callable[[timedelta], None]
) -> None:
    later(DUE)
    await authority.look_after()
    old = await issued(authority)
    later(DUE + PUBLISHED_FIRST)
    await authority.look_after()
    csr = build_request(generate_now(KeyType.ECDSA_P256))
    renewed = await authority.reenrol(to_der(old), csr, address=HERE)
    assert issuer_of(renewed, authority) == 0


async def test_a_restart_finds_all_of_them_and_another_process_as_well(
    config: TTPConfig, authority: Authority, later: Callable[[timedelta], None]
) -> None:
    later(DUE)
    await authority.look_after()
    async with await Authority.beside(config) as beside:
        assert beside.ca_certificates == authority.ca_certificates
    await authority.close()
    async with await Authority.open(config) as again:
        assert again.ca_certificates == authority.ca_certificates


async def test_a_try_that_was_cut_short_leaves_no_second_successor(
    config: TTPConfig, authority: Authority, later: Callable[[timedelta], None]
) -> None:
    keys = KeyFiles(config.state)
    left_behind = succession.next_key(keys, None, KeyType.ECDSA_P256)
    later(DUE)
    for _ in range(3):
        await authority.look_after()
    assert len(authority.ca_certificates) == 3
    assert authority.ca_certificates[1].public_key() == left_behind.public_key()
    assert keys.read(succession.NEXT) is None


async def test_a_ttp_that_was_down_for_too_long_issues_by_a_new_ca_at_once(
    config: TTPConfig, authority: Authority, later: Callable[[timedelta], None]
) -> None:
    first, root = authority.ca_certificates
    await authority.close()
    later(LIFETIME + DAY)
    async with await Authority.open(config) as again:
        assert again.ca_certificates[1:] == (root,)
        assert again.ca_certificates[0] != first
        check_issued_by(await issued(again), again.ca_certificates[0])


async def test_nothing_is_made_that_could_not_last_longer(
    tmp_path: Path, later: Callable[[timedelta], None]
) -> None:
    config = TTPConfig(
        state=tmp_path / "ttp",
        root_key_type="ecdsa-p256",
        issuing_key_type="ecdsa-p256",
        root_lifetime=DAY,
        issuing_lifetime=DAY,
    )
    async with await Authority.open(config) as authority:
        later(timedelta(hours=23))
        await authority.look_after()
        assert len(authority.ca_certificates) == 2


async def test_without_the_roots_key_a_person_is_asked_more_often_the_nearer_the_end(
    config: TTPConfig,
    authority: Authority,
    later: Callable[[timedelta], None],
    logged: LogWatch,
) -> None:
    (config.state / "root.key").unlink()
    event = "the issuing CA must be renewed by hand"
    later(DUE)
    for _ in range(3):
        await authority.look_after()
    (asked,) = logged.named(event)
    assert "ttp issuing --csr" in asked["reason"]
    assert len(authority.ca_certificates) == 2
    later(DUE + 10 * DAY)
    await authority.look_after()
    assert len(logged.named(event)) == 2


def test_a_reminder_comes_each_time_that_a_tenth_of_the_time_has_gone() -> None:
    reminder = Reminder()
    said = [days for days in range(100, -1, -1) if reminder.is_due(timedelta(days=days))]
    assert said[:4] == [100, 89, 80, 71]
    assert said[-1] == 0
    reminder.reset()
    assert reminder.is_due(timedelta(days=100))


def test_a_sealed_key_opens_for_its_ca_and_its_ledger_alone() -> None:
    derived = Secret(b"d" * 32)
    mine = sealing.key_for(derived, None)
    sealed = sealing.seal(KEY, mine, "ab")
    assert sealing.unseal(sealed, mine, "ab").private_numbers() == KEY.private_numbers()
    assert "PRIVATE" not in sealed
    for text, key, key_id in (
        (sealed, mine, "cd"),
        (sealed, sealing.key_for(derived, Secret(b"passphrase")), "ab"),
        (sealed, sealing.key_for(Secret(b"e" * 32), None), "ab"),
        (f"A{sealed[1:]}" if sealed[0] != "A" else f"B{sealed[1:]}", mine, "ab"),
        ("", mine, "ab"),
        ("ü", mine, "ab"),
    ):
        with pytest.raises(CertificateError, match="does not open"):
            sealing.unseal(text, key, key_id)
