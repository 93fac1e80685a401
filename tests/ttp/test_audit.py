"""Each decision is one event in the log, with its place in the ledger, and with no secret."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from asynctls.errors import EnrolmentRefusedError
from asynctls.pki.certificates import to_der
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.names import format_serial
from asynctls.pki.profiles import Profile
from asynctls.pki.requests import build_request
from asynctls.ttp.audit import event_of
from asynctls.ttp.chain import Head
from asynctls.ttp.schema import Kind, TokenBody, row_of

if TYPE_CHECKING:
    from asynctls.ttp.authority import Authority

HERE = "192.0.2.7:5555"
HOUR = timedelta(hours=1)


def request() -> bytes:
    return build_request(generate_now(KeyType.ECDSA_P256))


async def test_every_decision_is_one_event_in_the_order_of_the_ledger(
    authority: Authority,
) -> None:
    before = await authority.verify()
    with capture_logs() as events:
        token_id, secret = await authority.create_token(
            "server", sans=["10.0.0.1"], profile=Profile.SERVER, ttl=HOUR, lifetime=HOUR
        )
        password = secret.reveal().decode()
        first = await authority.enrol(token_id, password, request(), address=HERE)
        renewal = await authority.reenrol(to_der(first), request(), address=HERE)
        with pytest.raises(EnrolmentRefusedError):
            await authority.enrol(token_id, password, request(), address=HERE)
        await authority.revoke("server", reason="keyCompromise")
    audit: list[Any] = [event for event in events if event["event"] == "audit"]
    serials = [format_serial(each.serial_number) for each in (first, renewal)]
    assert [event["decision"] for event in audit] == [
        "token created",
        "certificate issued",
        "certificate issued",
        "enrolment refused",
        "certificate revoked",
        "certificate revoked",
        "crl signed",
    ]
    assert [event["sequence"] for event in audit] == [before.sequence + n for n in range(1, 8)]
    assert await authority.verify(head=Head.parse(audit[0]["head"]))
    assert str(await authority.verify()) == audit[-1]["head"]

    created, issued, renewed, refused, revoked = audit[:5]
    assert (created["name"], created["token"]) == ("server", token_id)
    assert created["sans"] == ["server", "10.0.0.1"]
    assert (issued["serial"], issued["token"], issued["address"]) == (serials[0], token_id, HERE)
    assert (renewed["serial"], renewed["renews"]) == (serials[1], serials[0])
    assert refused["rule"] == "token-used"
    assert refused["address"] == HERE
    assert (revoked["serial"], revoked["reason"]) == (serials[0], "keyCompromise")
    assert password not in str(events)


async def test_what_was_not_kept_is_no_event(authority: Authority) -> None:
    def fail_late(tx: Any) -> None:
        body = TokenBody(sans=(), profile="server", lifetime_s=1, secret_sha256="00")
        tx.append(row_of(Kind.TOKEN_CREATED, body, at=0, token_id="t", name="n", ends_at=1))
        raise EnrolmentRefusedError("no", status=403, rule="no")

    with capture_logs() as events, pytest.raises(EnrolmentRefusedError):
        await authority._ledger.write(fail_late)
    assert [event for event in events if event["event"] == "audit"] == []


def test_of_a_body_only_what_is_everybodys_is_told() -> None:
    body = TokenBody(sans=("a",), profile="peer", lifetime_s=60, secret_sha256="5ec2e7")
    row = row_of(Kind.TOKEN_CREATED, body, at=1_700_000_000, token_id="t1", name="a", ends_at=None)
    event = event_of(row, Head(7, bytes(32)))
    assert "5ec2e7" not in str(event)
    assert event == {
        "decision": "token created",
        "sequence": 7,
        "head": f"7:{'00' * 32}",
        "at": "2023-11-14T22:13:20+00:00",
        "name": "a",
        "token": "t1",
        "sans": ["a"],
        "profile": "peer",
        "lifetime_s": 60,
    }
    assert list(event)[-3:] == ["sans", "profile", "lifetime_s"]
