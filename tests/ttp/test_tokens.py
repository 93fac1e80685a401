"""A token is used once, by one key, in its time."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from asynctls.pki.profiles import Profile
from asynctls.ttp.policy import Grant, Refusal, Rule
from asynctls.ttp.records import StoredCertificate, StoredToken
from asynctls.ttp.tokens import FailureLimit, RecordLimit, is_secret_of, judge, new_token
from asynctls.ttp.uses import Uses

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
GRANT = Grant("server", ("server",), Profile.SERVER, timedelta(hours=24))
TOKEN = StoredToken("abc", GRANT, NOW + MINUTE, bytes(32), None, used=False)
MINE = b"m" * 32
ISSUED = StoredCertificate("0A", GRANT, NOW - MINUTE, NOW + 60 * MINUTE, MINE, b"der", None, None)


def rule_of(answer: object) -> Rule:
    assert isinstance(answer, Refusal)
    assert "token" in answer.reason
    return answer.rule


def test_a_token_is_32_random_bytes_and_an_id_that_need_no_escapes() -> None:
    token_id, secret, stored = new_token()
    text = secret.reveal().decode()
    assert len(base64.urlsafe_b64decode(text + "=")) == 32
    assert token_id.isalnum()
    assert text not in repr(secret)
    assert is_secret_of(replace(TOKEN, secret_sha256=stored), text)


@pytest.mark.parametrize("secret", ["", "wrong", "\ud800", "ü" * 43, "x" * 100_000])
def test_a_wrong_secret_is_never_right_and_never_raises(secret: str) -> None:
    assert not is_secret_of(TOKEN, secret)
    assert not is_secret_of(None, secret)


def test_a_token_that_nobody_used_leads_to_a_new_certificate() -> None:
    assert judge(TOKEN, Uses(), NOW) is None


def test_the_same_key_gets_the_same_certificate_again() -> None:
    assert judge(TOKEN, Uses(ISSUED), NOW) is None


def test_another_key_is_refused_whatever_the_time() -> None:
    for now in (NOW, NOW + 2 * MINUTE):
        assert rule_of(judge(TOKEN, Uses(others=1), now)) is Rule.TOKEN_USED


def test_a_token_ends_when_its_time_is_over() -> None:
    last = TOKEN.expires_at - timedelta(seconds=1)
    assert judge(TOKEN, Uses(), last) is None
    assert rule_of(judge(TOKEN, Uses(), TOKEN.expires_at)) is Rule.TOKEN_EXPIRED
    assert rule_of(judge(TOKEN, Uses(ISSUED), TOKEN.expires_at)) is Rule.TOKEN_EXPIRED


def test_a_revoked_token_leads_nowhere() -> None:
    assert rule_of(judge(replace(TOKEN, revoked_at=NOW), Uses(), NOW)) is Rule.TOKEN_REVOKED


def test_a_revoked_certificate_is_not_handed_out_again() -> None:
    revoked = replace(ISSUED, revoked_at=NOW)
    assert rule_of(judge(TOKEN, Uses(revoked), NOW)) is Rule.CERTIFICATE_REVOKED


def test_an_expired_certificate_is_not_handed_out_again() -> None:
    expired = replace(ISSUED, not_after=NOW - timedelta(seconds=1))
    assert rule_of(judge(TOKEN, Uses(expired), NOW)) is Rule.CERTIFICATE_EXPIRED


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_address_that_failed_ten_times_waits_for_its_minute() -> None:
    clock = Clock()
    limit = FailureLimit(clock=clock)
    for _ in range(10):
        assert limit.retry_after_s("192.0.2.1:5000") == 0
        limit.failed("192.0.2.1:5000")
        clock.now += 1
    assert limit.retry_after_s("192.0.2.1:9") == 50
    assert limit.retry_after_s("192.0.2.2:5000") == 0
    clock.now += 50
    assert limit.retry_after_s("192.0.2.1") == 0
    limit.failed("192.0.2.1")
    assert limit.retry_after_s("192.0.2.1") == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("[2001:db8::1]:1", "[2001:db8::2]:2", True),
        ("[2001:db8::1]:1", "2001:db8::ffff", True),
        ("[2001:db8::1]:1", "[2001:db8:0:1::1]:1", False),
        ("[::ffff:192.0.2.1]:7", "192.0.2.1:8", True),
        ("[fe80::1%eth0]:1", "fe80::2", True),
        ("unix socket", "unix socket", True),
        ("192.0.2.1:1", "192.0.2.2:1", False),
    ],
)
def test_addresses_of_one_subscriber_count_as_one(one: str, other: str, *, same: bool) -> None:
    limit = FailureLimit(failures=1, clock=Clock())
    limit.failed(one)
    assert (limit.retry_after_s(other) > 0) == same


def test_memory_is_bounded_and_the_longest_quiet_is_forgotten() -> None:
    limit = FailureLimit(failures=1, addresses=3, clock=Clock())
    for host in "abcad":
        limit.failed(host)
    assert [host for host in "abcd" if limit.retry_after_s(host) > 0] == ["a", "c", "d"]


def test_a_token_with_several_uses_gives_each_key_one_certificate() -> None:
    token = replace(TOKEN, uses=2)
    assert judge(token, Uses(others=1), NOW) is None
    assert judge(token, Uses(ISSUED), NOW) is None
    refusal = judge(token, Uses(others=2, led_to=("0A", "0B")), NOW)
    assert rule_of(refusal) is Rule.TOKEN_USED
    assert isinstance(refusal, Refusal)
    assert "used 2 times" in refusal.reason
    assert "0A, 0B" in refusal.reason


def test_refusals_of_one_credential_are_recorded_up_to_a_number_and_then_counted() -> None:
    clock = Clock()
    limit = RecordLimit(rows=2, window_s=60, credentials=2, clock=clock)
    assert [limit.take("a") for _ in range(5)] == [0, 0, None, None, None]
    assert limit.take("b") == 0
    clock.now += 61
    assert [limit.take("a"), limit.take("a"), limit.take("a")] == [3, 0, None]


def test_what_is_forgotten_of_a_credential_is_all_of_it() -> None:
    limit = RecordLimit(rows=1, credentials=1, clock=Clock())
    assert [limit.take("a"), limit.take("a"), limit.take("b"), limit.take("a")] == [0, None, 0, 0]
