from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from asynctls.admission import (
    Admitted,
    Anyone,
    Listed,
    LiveAfterExpiry,
    Peer,
    Refused,
    Rules,
    StaleCRL,
    admit,
    admit_again,
    allow_list,
)
from asynctls.alerts import Alert
from asynctls.errors import CertificateError
from asynctls.pki.certificates import to_der
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.names import Pattern, format_serial
from asynctls.pki.pins import Pin
from asynctls.pki.profiles import Issuer, Profile, issue, make_issuing, make_root
from asynctls.pki.status import RevocationList, Revoked, read_crl, sign_crl

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
ALPN = "asynctls/1"


@dataclass(frozen=True)
class CA:
    issuer: Issuer

    def leaf(self, *sans: str, lifetime: timedelta = DAY) -> bytes:
        certificate = issue(
            Profile.CLIENT,
            issuer=self.issuer,
            public_key=self.issuer.key.public_key(),
            sans=sans or ("client",),
            lifetime=lifetime,
            now=NOW,
        )
        return to_der(certificate)

    def crl(self, *serial_numbers: int, lifetime: timedelta = DAY) -> RevocationList:
        revoked = [Revoked(number, NOW) for number in serial_numbers]
        der = sign_crl(self.issuer, number=7, revoked=revoked, now=NOW, lifetime=lifetime)
        return read_crl(der, self.issuer.certificate)


@cache
def ca(which: str = "") -> CA:
    root_key, key = generate_now(KeyType.ECDSA_P256), generate_now(KeyType.ECDSA_P256)
    root = Issuer(make_root(root_key, lifetime=100 * DAY, now=NOW), root_key)
    certificate = make_issuing(key.public_key(), issuer=root, lifetime=99 * DAY, now=NOW)
    return CA(Issuer(certificate, key))


def rules(
    *crls: RevocationList, allow: str = "client", alpn: str | None = ALPN, uri: str | None = None
) -> Rules:
    patterns = allow_list(allow.split())
    return Rules(allow=patterns, crls=crls or (ca().crl(),), alpn=alpn, server_uri=uri)


def refusal(verdict: Admitted | Refused) -> tuple[Alert, str]:
    assert isinstance(verdict, Refused)
    return verdict.alert, verdict.reason


def test_a_peer_that_breaks_no_rule_is_admitted() -> None:
    certificate = ca().leaf("client", "10.0.0.1")
    verdict = admit(certificate, ALPN, now=NOW, rules=rules())
    assert verdict == Admitted(Peer.of(certificate))
    assert (verdict.alert, verdict.reason) == (None, "")


def test_a_peer_is_what_its_certificate_says() -> None:
    certificate = ca().leaf("client", "10.0.0.1")
    parsed = x509.load_der_x509_certificate(certificate)
    peer = Peer.of(certificate)
    assert (peer.name, peer.sans) == ("client", ("client", "10.0.0.1"))
    assert peer.fingerprint == parsed.fingerprint(hashes.SHA256()).hex()
    assert peer.not_after == parsed.not_valid_after_utc
    assert peer.certificate == certificate
    assert str(peer) == f"client (serial {format_serial(parsed.serial_number)})"
    assert len(repr(peer)) < 500


def test_no_certificate_is_alert_40() -> None:
    alert, reason = refusal(admit(None, ALPN, now=NOW, rules=rules()))
    assert (alert, reason) == (40, "it showed no certificate")


def test_what_cannot_be_read_is_alert_42() -> None:
    verdict = admit(b"\x30\x00", ALPN, now=NOW, rules=rules())
    assert refusal(verdict)[0] == 42
    assert isinstance(verdict, Refused)
    assert verdict.peer is None


@pytest.mark.parametrize(("alpn", "words"), [(None, "none was"), ("http/1.1", "'http/1.1' was")])
def test_another_protocol_is_alert_120(alpn: str | None, words: str) -> None:
    verdict = admit(ca().leaf(), alpn, now=NOW, rules=rules())
    alert, reason = refusal(verdict)
    assert alert == 120
    assert f"'asynctls/1', and {words}" in reason
    assert isinstance(verdict, Refused)
    assert str(verdict.peer).startswith("client (serial ")


def test_a_tunnel_asks_for_no_protocol() -> None:
    for alpn in (None, "h2"):
        verdict = admit(ca().leaf(), alpn, now=NOW, rules=rules(alpn=None))
        assert isinstance(verdict, Admitted)


def test_an_expired_certificate_is_alert_45_from_the_second_it_names() -> None:
    certificate = ca().leaf(lifetime=5 * SECOND)
    last = NOW + 5 * SECOND
    before = admit(certificate, ALPN, now=last - timedelta(microseconds=1), rules=rules())
    assert isinstance(before, Admitted)
    alert, reason = refusal(admit(certificate, ALPN, now=last, rules=rules()))
    assert (alert, reason) == (45, f"its certificate expired on {last:%Y-%m-%d %H:%M:%S} UTC")


def test_a_certificate_of_the_future_is_alert_42_and_names_both_clocks() -> None:
    begin = NOW - 60 * SECOND
    assert isinstance(admit(ca().leaf(), ALPN, now=begin, rules=rules()), Admitted)
    alert, reason = refusal(admit(ca().leaf(), ALPN, now=begin - SECOND, rules=rules()))
    assert alert == 42
    assert f"{begin:%H:%M:%S}" in reason
    assert f"{begin - SECOND:%H:%M:%S} UTC here" in reason


def test_without_a_crl_of_the_issuer_nobody_is_admitted() -> None:
    other = ca("other").crl()
    for held in ((), (other,)):
        bare = Rules(allow=Anyone(), crls=held, alpn=ALPN)
        alert, reason = refusal(admit(ca().leaf(), ALPN, now=NOW, rules=bare))
        assert alert == 80
        assert "we hold no CRL of its issuer, asynctls issuing CA" in reason


def test_a_crl_of_another_key_of_the_same_issuer_does_not_count() -> None:
    namesake = replace(ca().crl(), authority_key_id=b"another")
    assert refusal(admit(ca().leaf(), ALPN, now=NOW, rules=rules(namesake)))[0] == 80


def test_where_one_may_go_on_a_crl_past_its_end_says_what_it_said() -> None:
    listed = x509.load_der_x509_certificate(ca().leaf()).serial_number
    stale = structs.replace(rules(ca().crl(listed, lifetime=SECOND)), stale_crl=StaleCRL.GO_ON)
    revoked = replace(Peer.of(ca().leaf()), serial_number=listed)
    later = NOW + timedelta(hours=2)
    assert admit(ca().leaf(), ALPN, now=later, rules=stale).alert is None
    assert refusal(admit_again(revoked, now=later, rules=stale))[0] == 44
    # A list that is held of nobody, or of the future, is another matter.
    assert (
        refusal(admit(ca().leaf(), ALPN, now=later, rules=structs.replace(stale, crls=())))[0] == 80
    )


def test_a_crl_past_its_end_is_alert_80_and_never_45_or_44() -> None:
    certificate = ca().leaf()
    stale = ca().crl(Peer.of(certificate).serial_number, lifetime=5 * SECOND)
    last = NOW + 5 * SECOND
    assert refusal(admit(certificate, ALPN, now=last - SECOND, rules=rules(stale)))[0] == 44
    alert, reason = refusal(admit(certificate, ALPN, now=last, rules=rules(stale)))
    assert alert == 80
    assert f"number 7 ended on {last:%Y-%m-%d %H:%M:%S} UTC" in reason


def test_a_crl_of_the_future_gets_the_grace_that_certificates_get() -> None:
    certificate = ca().leaf()
    late = replace(ca().crl(), this_update=NOW + 60 * SECOND)
    assert isinstance(admit(certificate, ALPN, now=NOW, rules=rules(late)), Admitted)
    late = replace(ca().crl(), this_update=NOW + 61 * SECOND)
    alert, reason = refusal(admit(certificate, ALPN, now=NOW, rules=rules(late)))
    assert alert == 80
    assert "this clock is wrong" in reason


def test_the_newest_crl_of_an_issuer_counts() -> None:
    certificate = ca().leaf()
    newest = ca().crl(Peer.of(certificate).serial_number)
    older = replace(ca().crl(), this_update=NOW - DAY, next_update=NOW + 9 * DAY)
    for held in ((newest, older), (older, newest)):
        assert refusal(admit(certificate, ALPN, now=NOW, rules=rules(*held)))[0] == 44


def test_a_revoked_certificate_is_alert_44() -> None:
    certificate = ca().leaf()
    held = ca().crl(1, Peer.of(certificate).serial_number)
    alert, reason = refusal(admit(certificate, ALPN, now=NOW, rules=rules(held)))
    assert alert == 44
    assert reason == f"its certificate is revoked (CRL 7 of {NOW:%Y-%m-%d %H:%M:%S} UTC)"


@pytest.mark.parametrize(
    ("sans", "allow", "allowed"),
    [
        (["client"], "client", True),
        (["client"], "server client", True),
        (["web", "client"], "client", True),
        (["client"], "server", False),
        (["client"], "", False),
        (["client"], "any", True),
        (["a.example.org"], "*.example.org", True),
        (["a.b.example.org"], "*.example.org", False),
        (["spiffe://td/web/1"], "spiffe://td/web/*", True),
        (["spiffe://td/db/1"], "spiffe://td/web/*", False),
        (["::1"], "0::1", True),
    ],
)
def test_only_a_name_on_the_allow_list_is_admitted(
    sans: list[str], allow: str, *, allowed: bool
) -> None:
    verdict = admit(ca().leaf(*sans), ALPN, now=NOW, rules=rules(allow=allow))
    if allowed:
        assert isinstance(verdict, Admitted)
    else:
        alert, reason = refusal(verdict)
        assert alert == 49
        assert f"its names: {', '.join(sans)}; allowed: {allow or 'nobody'}" in reason


def test_a_pinned_key_is_admitted_whatever_its_name_and_no_other_is() -> None:
    certificate = ca().leaf("whoever")
    pin = str(Peer.of(certificate).pin)
    for allow in (pin, f"client {pin}"):
        assert isinstance(admit(certificate, ALPN, now=NOW, rules=rules(allow=allow)), Admitted)
    other = str(Peer.of(ca("other").leaf()).pin)
    alert, reason = refusal(admit(certificate, ALPN, now=NOW, rules=rules(allow=other)))
    assert alert == 49
    assert reason.endswith(f"its names: whoever; its key: {pin}; allowed: {other}")


def test_a_pin_stands_beside_dates_and_crl_and_not_in_their_place() -> None:
    certificate = ca().leaf(lifetime=5 * SECOND)
    pin = str(Peer.of(certificate).pin)
    late = admit(certificate, ALPN, now=NOW + 5 * SECOND, rules=rules(allow=pin))
    assert refusal(late)[0] == 45
    revoked = ca().crl(Peer.of(certificate).serial_number)
    assert refusal(admit(certificate, ALPN, now=NOW, rules=rules(revoked, allow=pin)))[0] == 44
    foreign = rules(ca("other").crl(), allow=pin)
    assert refusal(admit(certificate, ALPN, now=NOW, rules=foreign))[0] == 80


def test_a_server_known_by_a_uri_is_matched_here_as_openssl_would_match_a_host() -> None:
    certificate = ca().leaf("server", "spiffe://td/web")
    for uri in ("spiffe://td/web", "SPIFFE://TD/web"):
        verdict = admit(certificate, ALPN, now=NOW, rules=rules(allow="any", uri=uri))
        assert isinstance(verdict, Admitted)
    verdict = admit(certificate, ALPN, now=NOW, rules=rules(allow="any", uri="spiffe://td/db"))
    alert, reason = refusal(verdict)
    assert alert == 42
    assert reason == "it is not spiffe://td/db; its names: server, spiffe://td/web"
    with pytest.raises(CertificateError):
        rules(uri="spiffe://")


def test_the_first_rule_that_is_broken_is_the_answer() -> None:
    certificate = ca().leaf(lifetime=5 * SECOND)
    revoked = ca().crl(Peer.of(certificate).serial_number, lifetime=3 * SECOND)
    strict = rules(revoked, allow="nobody-else", uri="spiffe://td/x")
    answers = [
        refusal(admit(certificate, "h2", now=NOW + 9 * SECOND, rules=strict))[0],
        refusal(admit(certificate, ALPN, now=NOW + 9 * SECOND, rules=strict))[0],
        refusal(admit(certificate, ALPN, now=NOW + 4 * SECOND, rules=strict))[0],
        refusal(admit(certificate, ALPN, now=NOW, rules=strict))[0],
        refusal(
            admit(certificate, ALPN, now=NOW, rules=structs.replace(strict, crls=(ca().crl(),)))
        )[0],
        refusal(admit(certificate, ALPN, now=NOW, rules=rules(allow="nobody-else")))[0],
    ]
    assert answers == [120, 45, 80, 44, 42, 49]


def test_a_live_peer_is_judged_again_by_the_same_rules() -> None:
    peer = Peer.of(ca().leaf())
    assert admit_again(peer, now=NOW, rules=rules()) == Admitted(peer)
    assert refusal(admit_again(peer, now=peer.not_after, rules=rules()))[0] == 45
    revoked = rules(ca().crl(peer.serial_number))
    assert refusal(admit_again(peer, now=NOW, rules=revoked))[0] == 44


class OnlyLookedUp(frozenset[int]):
    """Numbers that nobody may go through one by one."""

    def __iter__(self) -> Iterator[int]:
        raise AssertionError("it was gone through")


def test_a_serial_number_is_looked_up_and_not_searched_for() -> None:
    peer = Peer.of(ca().leaf())
    held = rules(replace(ca().crl(), serials=OnlyLookedUp(range(10_000))))
    assert admit_again(peer, now=NOW, rules=held) == Admitted(peer)


def test_of_ten_thousand_entries_only_those_are_tried_that_could_mean_the_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[str] = []
    matches = Pattern.matches

    def counted(pattern: Pattern, san: str) -> bool:
        tried.append(f"{pattern}")
        return matches(pattern, san)

    monkeypatch.setattr(Pattern, "matches", counted)
    texts = [f"host{n}.example.org" for n in range(4_000)]
    texts += [f"*.domain{n}.example.org" for n in range(3_000)]
    texts += [f"spiffe://td/group{n}/*" for n in range(3_000)]
    allow = allow_list(texts)
    assert isinstance(allow, Listed)
    pin = Peer.of(ca().leaf()).pin
    for san, meant_by in (
        ("host7.example.org", "host7.example.org"),
        ("a.domain7.example.org", "*.domain7.example.org"),
        ("spiffe://td/group7/a/b", "spiffe://td/group7/*"),
    ):
        assert allow.admits([san], pin)
        assert tried == [meant_by]
        tried.clear()
    for san in ("other.example.org", "a.b.domain7.example.org", "spiffe://td/group7", "::1"):
        assert not allow.admits([san], pin)
    assert len(tried) <= 1


def test_a_refusal_names_the_first_entries_of_a_long_list_and_counts_the_others() -> None:
    texts = " ".join(f"host{n}" for n in range(10_000))
    _, reason = refusal(admit(ca().leaf(), ALPN, now=NOW, rules=rules(allow=texts)))
    shown = ", ".join(f"host{n}" for n in range(10))
    assert reason.endswith(f"allowed: {shown} and 9,990 more")


NAMES = ("a", "a.b", "b.a.b", "a.b.a.b", "spiffe://a/b", "spiffe://a/b/a", "spiffe://a/b/a/b")
PATTERNS = (*NAMES, "*.a.b", "*.b.a.b", "spiffe://a/*", "spiffe://a/b/*", "spiffe://a/b/a/*")


@given(
    st.lists(st.sampled_from(PATTERNS), max_size=4), st.lists(st.sampled_from(NAMES), max_size=2)
)
def test_a_list_lets_in_whom_one_of_its_patterns_means(texts: list[str], sans: list[str]) -> None:
    allow = allow_list(texts)
    assert isinstance(allow, Listed)
    one_by_one = any(Pattern.parse(text).matches(san) for text in texts for san in sans)
    assert allow.admits(sans, Pin(bytes(32))) is one_by_one


def test_an_allow_list_is_patterns_or_the_one_word_any() -> None:
    assert allow_list(["any"]) == Anyone()
    assert str(Anyone()) == "any"
    assert allow_list([]) == Listed(())
    assert allow_list(["Client", "*.example.org"]) == Listed(
        (Pattern.parse("client"), Pattern.parse("*.example.org"))
    )


def test_every_bad_pattern_of_an_allow_list_is_named() -> None:
    with pytest.raises(CertificateError) as caught:
        allow_list(["client", "*", "any", "a b"])
    lines = str(caught.value).splitlines()
    assert [line.split()[0] for line in lines] == ["'*'", "'any'", "'a"]


LEAF = ca().leaf("client", "10.0.0.1", "spiffe://td/x")


@given(
    st.lists(st.tuples(st.integers(0, len(LEAF) - 1), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_whatever_is_shown_there_is_a_verdict(changes: list[tuple[int, int]]) -> None:
    mangled = bytearray(LEAF)
    for at, value in changes:
        mangled[at] = value
    with warnings.catch_warnings():
        # The library warns of some oddities that it reads all the same.
        warnings.simplefilter("ignore")
        verdict = admit(bytes(mangled), ALPN, now=NOW, rules=rules())
    assert isinstance(verdict, Admitted | Refused)
    assert verdict.reason.isprintable()


@pytest.mark.parametrize("odd", [b"\xa3", b"\xa5"])
def test_names_of_kinds_that_nobody_reads_are_a_reason_to_refuse(odd: bytes) -> None:
    # In place of a dNSName: an x400Address, an ediPartyName (RFC 5280, section 4.2.1.6).
    certificate = LEAF.replace(b"\x82\x06client", odd + b"\x06client")
    assert certificate != LEAF
    with pytest.raises(CertificateError, match="cannot be read"):
        Peer.claimed(certificate)
    verdict = admit(certificate, ALPN, now=NOW, rules=rules())
    assert verdict.alert is Alert.BAD_CERTIFICATE


def test_what_strangers_show_is_not_remembered() -> None:
    certificate = ca().leaf("stranger")
    claimed = Peer.claimed(certificate)
    assert claimed == Peer.claimed(certificate) == Peer.of(certificate)
    assert claimed is not Peer.claimed(certificate)
    assert Peer.of(certificate) is Peer.of(certificate)


def test_a_live_peer_may_outlive_its_certificate_and_nobody_comes_in_by_an_expired_one() -> None:
    kept = structs.replace(rules(), live_after_expiry=LiveAfterExpiry.KEEP)
    certificate = ca().leaf()
    peer = Peer.of(certificate)
    later = peer.not_after + SECOND
    current = structs.replace(kept, crls=(ca().crl(lifetime=3 * DAY),))
    assert admit_again(peer, now=later, rules=current) == Admitted(peer)
    assert (
        refusal(admit(certificate, ALPN, now=later, rules=current))[0] == Alert.CERTIFICATE_EXPIRED
    )
    revoked = structs.replace(kept, crls=(ca().crl(peer.serial_number, lifetime=3 * DAY),))
    assert refusal(admit_again(peer, now=later, rules=revoked))[0] == Alert.CERTIFICATE_REVOKED
    nobody = structs.replace(current, allow=Listed(()))
    assert refusal(admit_again(peer, now=later, rules=nobody))[0] == Alert.ACCESS_DENIED
