"""Tokens with rules of their own, requests that wait, and how many rows a refusal may cost."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import sqlalchemy as sa
import structlog

from asynctls.config import TTPConfig
from asynctls.errors import (
    ConfigError,
    EnrolmentError,
    EnrolmentPendingError,
    EnrolmentRefusedError,
    LedgerError,
)
from asynctls.pki.certificates import to_der
from asynctls.pki.keys import KeyType, generate_now, spki_sha256
from asynctls.pki.names import sans_of
from asynctls.pki.profiles import Profile
from asynctls.pki.requests import build_request
from asynctls.ttp import clock
from asynctls.ttp.authority import Authority
from asynctls.ttp.ledger import Ledger
from asynctls.ttp.schema import Kind, RefusalsBody, entries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cryptography import x509

pytestmark = pytest.mark.one_loop

HERE = "127.0.0.1:5555"
KEYS = [generate_now(KeyType.ECDSA_P256) for _ in range(4)]
HOUR = timedelta(hours=1)


def config_of(folder: Path, **settings: object) -> TTPConfig:
    own: dict[str, object] = {"root_key_type": "ecdsa-p256", "issuing_key_type": "ecdsa-p256"}
    return TTPConfig(state=folder, **(own | settings))  # type: ignore[arg-type]


@pytest.fixture
async def authority(tmp_path: Path) -> AsyncIterator[Authority]:
    async with await Authority.open(config_of(tmp_path / "ttp")) as opened:
        yield opened


async def token(authority: Authority, name: str = "worker", **grant: object) -> tuple[str, str]:
    wanted: dict[str, object] = {"profile": Profile.CLIENT, "ttl": HOUR, "lifetime": HOUR}
    token_id, secret = await authority.create_token(name, **(wanted | grant))  # type: ignore[arg-type]
    return token_id, secret.reveal().decode()


async def enrol(
    authority: Authority, of: tuple[str, str], key: int = 0, *sans: str
) -> x509.Certificate:
    return await authority.enrol(*of, build_request(KEYS[key], sans=sans), address=HERE)


async def refused(coroutine: object) -> str:
    with pytest.raises(EnrolmentRefusedError) as caught:
        await coroutine  # type: ignore[misc]
    return caught.value.rule


async def rows(authority: Authority, kind: Kind) -> list[str]:
    found = sa.select(entries.c.body).where(entries.c.kind == kind.value)
    return await authority._ledger.read(
        lambda connection: list(connection.execute(found).scalars())
    )


# Uses, names, keys


async def test_each_key_of_a_token_with_several_uses_gets_one_certificate(
    authority: Authority,
) -> None:
    of = await token(authority, uses=3)
    first = await asyncio.gather(*(enrol(authority, of, key) for key in range(3)))
    again = await asyncio.gather(*(enrol(authority, of, key) for key in range(3)))
    assert [to_der(each) for each in first] == [to_der(each) for each in again]
    assert len({each.serial_number for each in first}) == 3
    assert await refused(enrol(authority, of, 3)) == "token-used"


async def test_of_many_at_once_no_more_than_its_uses_get_one(authority: Authority) -> None:
    of = await token(authority, uses=2)
    outcomes = await asyncio.gather(
        *(enrol(authority, of, key % 4) for key in range(12)), return_exceptions=True
    )
    issued = {each.serial_number for each in outcomes if not isinstance(each, BaseException)}
    assert len(issued) == 2
    assert len(await authority.list_certificates()) == 2


async def test_a_token_that_is_not_used_up_is_taken_back_with_its_name(
    authority: Authority,
) -> None:
    of = await token(authority, uses=2)
    await enrol(authority, of)
    assert len(await authority.revoke("worker")) == 1
    assert await refused(enrol(authority, of, 1)) == "token-revoked"


async def test_a_token_that_nobody_used_is_taken_back_with_its_name(authority: Authority) -> None:
    of = await token(authority, uses=2)
    await authority.revoke("worker")
    assert await refused(enrol(authority, of)) == "token-revoked"


async def test_a_certificate_has_the_further_names_that_its_request_was_allowed(
    authority: Authority,
) -> None:
    of = await token(authority, uses=2, allow_names=[".fleet.example", "10.0.0.0/8"])
    first = await enrol(authority, of, 0, "w1.fleet.example", "10.0.0.1")
    assert sans_of(first) == ("worker", "w1.fleet.example", "10.0.0.1")
    # A retry asks for what it got, and for nothing else that the token would allow.
    assert await enrol(authority, of, 0) == first
    assert await refused(enrol(authority, of, 0, "w2.fleet.example")) == "beyond-grant"
    assert await refused(enrol(authority, of, 1, "w1.other.example")) == "beyond-grant"
    # A renewal keeps them.
    request = build_request(KEYS[2], sans=["10.0.0.1"])
    renewed = await authority.reenrol(to_der(first), request, address=HERE)
    assert sans_of(renewed) == sans_of(first)
    more = build_request(KEYS[3], sans=["w3.fleet.example"])
    assert await refused(authority.reenrol(to_der(first), more, address=HERE)) == "beyond-grant"


async def test_the_kinds_of_key_of_a_token_hold_for_renewals_too(authority: Authority) -> None:
    of = await token(authority, key_types=[KeyType.ECDSA_P384])
    assert await refused(enrol(authority, of)) == "key-type-not-allowed"
    strong = generate_now(KeyType.ECDSA_P384)
    issued = await authority.enrol(*of, build_request(strong), address=HERE)
    weaker = authority.reenrol(to_der(issued), build_request(KEYS[0]), address=HERE)
    assert await refused(weaker) == "key-type-not-allowed"


async def test_a_renewal_that_has_ended_is_not_handed_out_again(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = to_der(await enrol(authority, await token(authority)))
    strict = config_of(tmp_path / "ttp", max_lifetime=timedelta(minutes=5))
    async with await Authority.open(strict) as later:
        request = build_request(KEYS[1])
        renewed = await later.reenrol(issued, request, address=HERE)
        assert await later.reenrol(issued, request, address=HERE) == renewed
        after = renewed.not_valid_after_utc + timedelta(seconds=1)
        monkeypatch.setattr(clock, "now", lambda: after)
        assert await refused(later.reenrol(issued, request, address=HERE)) == "certificate-expired"
        await later.reenrol(issued, build_request(KEYS[2]), address=HERE)


async def test_a_policy_holds_for_what_was_granted_before_it(
    authority: Authority, tmp_path: Path
) -> None:
    of, other = await token(authority), await token(authority, "fleet")
    issued = await enrol(authority, of)
    strict = config_of(tmp_path / "ttp", allow_names=["fleet"], max_lifetime=timedelta(minutes=5))
    async with await Authority.open(strict) as later:
        renewal = later.reenrol(to_der(issued), build_request(KEYS[1]), address=HERE)
        assert await refused(renewal) == "name-not-allowed"
        short = await later.enrol(*other, build_request(KEYS[2]), address=HERE)
        assert short.not_valid_after_utc - short.not_valid_before_utc <= timedelta(minutes=6)
        with pytest.raises(ConfigError, match="allow_names"):
            await token(later)


# Approval


async def waits(authority: Authority, of: tuple[str, str], key: int = 0, *sans: str) -> str:
    with pytest.raises(EnrolmentPendingError) as caught:
        await enrol(authority, of, key, *sans)
    assert caught.value.retry_after_s > 0
    return str(caught.value)


async def test_a_request_waits_until_it_is_approved(authority: Authority) -> None:
    of = await token(authority, approve=True, allow_names=["*.fleet.example"])
    with structlog.testing.capture_logs() as events:
        said = await waits(authority, of, 0, "w1.fleet.example")
        assert await waits(authority, of, 0, "w1.fleet.example") == said
    names = [event["event"] for event in events]
    assert names.count("enrolment waits for approval") == 1
    (waiting,) = await authority.pending()
    assert waiting.sans == ("worker", "w1.fleet.example")
    assert waiting.spki_sha256 == spki_sha256(KEYS[0].public_key())
    assert f"ttp approve {waiting.number}" in said
    assert waiting.spki_sha256.hex() in said

    assert (await authority.approve(waiting.number)).name == "worker"
    assert await authority.pending() == []
    # What was approved is these names, whatever the token would allow.
    assert await refused(enrol(authority, of, 0, "w2.fleet.example")) == "beyond-grant"
    issued = await enrol(authority, of, 0)
    assert sans_of(issued) == ("worker", "w1.fleet.example")
    assert await enrol(authority, of, 0) == issued
    await authority.verify()


async def test_a_second_key_cannot_wait_beside_the_first(authority: Authority) -> None:
    of = await token(authority, approve=True)
    await waits(authority, of)
    assert await refused(enrol(authority, of, 1)) == "token-used"
    assert len(await authority.pending()) == 1


async def test_a_key_that_waited_and_got_its_certificate_is_one_use(authority: Authority) -> None:
    of = await token(authority, approve=True, uses=2)
    await waits(authority, of, 0)
    (waiting,) = await authority.pending()
    await authority.approve(waiting.number)
    await enrol(authority, of, 0)
    await waits(authority, of, 1)
    assert await refused(enrol(authority, of, 2)) == "token-used"


async def test_what_would_be_refused_does_not_wait(authority: Authority) -> None:
    of = await token(authority, approve=True)
    assert await refused(enrol(authority, of, 0, "somebody")) == "beyond-grant"
    assert await authority.pending() == []


async def test_nothing_is_approved_twice_or_after_its_token(authority: Authority) -> None:
    of = await token(authority, approve=True, uses=2)
    await waits(authority, of, 0)
    await waits(authority, of, 1)
    first, second = await authority.pending()
    await authority.approve(first.number)
    for number in (first.number, 0, 10**6):
        with pytest.raises(EnrolmentError, match="ttp pending"):
            await authority.approve(number)
    await authority.revoke("worker")
    assert await authority.pending() == []
    with pytest.raises(EnrolmentError, match="revoked"):
        await authority.approve(second.number)
    # Also one that was approved leads nowhere then.
    assert await refused(enrol(authority, of, 0)) == "token-revoked"


async def test_of_two_who_approve_at_once_one_is_told(authority: Authority) -> None:
    await waits(authority, await token(authority, approve=True))
    (waiting,) = await authority.pending()
    outcomes = await asyncio.gather(
        *(authority.approve(waiting.number) for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(each, EnrolmentError) for each in outcomes) == 3
    assert len(await rows(authority, Kind.ENROLMENT_APPROVED)) == 1


# Rows of refusals


async def test_who_holds_a_used_token_cannot_fill_the_ledger(authority: Authority) -> None:
    of = await token(authority)
    await enrol(authority, of)
    for _ in range(30):
        assert await refused(enrol(authority, of, 1)) == "token-used"
    assert len(await rows(authority, Kind.ENROLMENT_REFUSED)) == 10
    # Nobody else is silenced by it, and the right key goes on being answered.
    other = await token(authority, "other")
    assert await refused(enrol(authority, other, 0, "more")) == "beyond-grant"
    assert len(await rows(authority, Kind.ENROLMENT_REFUSED)) == 11
    await enrol(authority, of)


async def test_refusals_without_a_row_are_accounted_for_in_one(
    authority: Authority,
) -> None:
    of = await token(authority)
    await enrol(authority, of)
    for _ in range(15):
        assert await refused(enrol(authority, of, 1)) == "token-used"
    for _ in range(13):
        with pytest.raises(EnrolmentRefusedError):
            await enrol(authority, ("nobody", of[1]))
    authority.note_refused("no-credential")
    await authority.account_for_refusals()
    await authority.account_for_refusals()
    (row,) = await rows(authority, Kind.REFUSALS_COUNTED)
    body = msgspec.json.decode(row, type=RefusalsBody)
    assert body.counts == {"token-used": 5, "rate-limited": 3, "no-credential": 1}
    assert len(await rows(authority, Kind.ENROLMENT_REFUSED)) == 10 + 10
    # Those of the time since then are when it stops.
    assert await refused(enrol(authority, of, 1)) == "rate-limited"
    await authority.close()
    async with await Authority.beside(config_of(authority.folder)) as again:
        assert len(await rows(again, Kind.REFUSALS_COUNTED)) == 2
        await again.verify()


async def test_refusals_are_not_counted_twice_though_an_answer_was_lost(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Ledger.write

    async def kept_and_lost(self: Ledger, operation: Any) -> None:
        await write(self, operation)
        raise LedgerError("whether the last rows were recorded is not known")

    async def lost(_self: Ledger, _operation: Any) -> None:
        raise LedgerError("it is out of reach")

    for writes in (kept_and_lost, lost, kept_and_lost):
        authority.note_refused("no-credential")
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "write", writes)
            with pytest.raises(LedgerError):
                await authority.account_for_refusals()
    authority.note_refused("wrong-type")
    await authority.account_for_refusals()
    bodies = [
        msgspec.json.decode(row, type=RefusalsBody)
        for row in await rows(authority, Kind.REFUSALS_COUNTED)
    ]
    assert [body.counts for body in bodies] == [
        {"no-credential": 1},
        {"no-credential": 2},
        {"wrong-type": 1},
    ]


async def test_nor_who_holds_a_certificate(authority: Authority) -> None:
    issued = await enrol(authority, await token(authority))
    await authority.revoke("worker")
    outcomes = [
        refused(authority.reenrol(to_der(issued), build_request(KEYS[1]), address=HERE))
        for _ in range(30)
    ]
    assert set(await asyncio.gather(*outcomes)) == {"certificate-revoked"}
    assert len(await rows(authority, Kind.ENROLMENT_REFUSED)) == 10
