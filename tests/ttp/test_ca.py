"""Several issuing CAs: each for its time, and each answers for what it issued."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from asynctls.config import TTPConfig
from asynctls.errors import ConfigError, StateError
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.names import sans_of
from asynctls.pki.profiles import Issuer, Profile, make_issuing, make_root
from asynctls.ttp.authority import Authority
from asynctls.ttp.ca import PUBLISHED_FIRST, CertificateAuthority

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
ROOT_KEY, FIRST_KEY, NEXT_KEY = (generate_now(KeyType.ECDSA_P256) for _ in range(3))
ROOT = Issuer(make_root(ROOT_KEY, lifetime=3652 * DAY, now=NOW), ROOT_KEY)


def authority(lifetime: timedelta, second_at: timedelta, *, at: timedelta) -> CertificateAuthority:
    first = make_issuing(FIRST_KEY.public_key(), issuer=ROOT, lifetime=lifetime, now=NOW)
    later = NOW + second_at
    second = make_issuing(NEXT_KEY.public_key(), issuer=ROOT, lifetime=lifetime, now=later)
    taken_up = ((NOW, Issuer(first, FIRST_KEY)), (later, Issuer(second, NEXT_KEY)))
    return CertificateAuthority.of(ROOT.certificate, None, taken_up, now=NOW + at)


def issuing_key(ca: CertificateAuthority) -> str:
    return "first" if ca.issuing.key is FIRST_KEY else "next"


def test_a_new_ca_is_published_for_a_while_before_it_issues() -> None:
    made = 400 * DAY
    before = authority(730 * DAY, made, at=made + PUBLISHED_FIRST - SECOND)
    assert issuing_key(before) == "first"
    assert [each.key for each in before.issuers] == [FIRST_KEY, NEXT_KEY]
    assert [each.subject for each in before.certificates] == [
        before.issuers[0].certificate.subject,
        before.issuers[1].certificate.subject,
        ROOT.certificate.subject,
    ]
    after = before.at(NOW + made + PUBLISHED_FIRST)
    assert issuing_key(after) == "next"
    assert after.certificates[0] == after.issuing.certificate
    assert set(after.certificates) == set(before.certificates)


def test_where_time_is_short_the_new_ca_issues_half_way_to_the_end_of_the_old_one() -> None:
    assert issuing_key(authority(30 * SECOND, 20 * SECOND, at=24 * SECOND)) == "first"
    assert issuing_key(authority(30 * SECOND, 20 * SECOND, at=25 * SECOND)) == "next"


def test_a_ca_that_has_ended_is_handed_out_no_more() -> None:
    ca = authority(30 * SECOND, 20 * SECOND, at=30 * SECOND)
    assert [each.key for each in ca.issuers] == [NEXT_KEY]
    assert len(ca.certificates) == 2


def test_when_all_have_ended_the_last_is_still_there_to_say_so() -> None:
    ca = authority(30 * SECOND, 20 * SECOND, at=60 * SECOND)
    assert ca.issuers == (ca.issuing,)
    assert issuing_key(ca) == "next"


def test_nothing_changes_while_nothing_changes() -> None:
    ca = authority(730 * DAY, 400 * DAY, at=400 * DAY)
    assert ca.at(NOW + 401 * DAY) is ca


async def test_a_constrained_ttp_keeps_to_its_names(tmp_path: Path) -> None:
    config = TTPConfig(
        state=tmp_path / "ttp",
        root_key_type="ecdsa-p256",
        issuing_key_type="ecdsa-p256",
        name=("ttp.example.org",),
        name_constraints=("example.org",),
    )
    async with await Authority.open(config) as authority:
        assert authority.tls_certificate is not None
        assert sans_of(authority.tls_certificate) == ("ttp.example.org",)
        for name, fits in (("web.example.org", True), ("web.example.com", False)):
            making = authority.create_token(name, profile=Profile.PEER, ttl=DAY, lifetime=DAY)
            if fits:
                await making
            else:
                with pytest.raises(ConfigError, match="outside the name constraints"):
                    await making


async def test_a_ttp_whose_own_name_is_outside_says_so(tmp_path: Path) -> None:
    config = TTPConfig(
        state=tmp_path / "ttp",
        root_key_type="ecdsa-p256",
        issuing_key_type="ecdsa-p256",
        name_constraints=("example.org",),
    )
    with pytest.raises(StateError, match="--name"):
        await Authority.open(config)
    with pytest.raises(ConfigError, match=r"ttp\.name_constraints"):
        await Authority.open(TTPConfig(state=tmp_path / "other", name_constraints=("a b",)))
