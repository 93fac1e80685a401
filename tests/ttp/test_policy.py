"""Nothing beyond the grant, and every reason at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from asynctls.config import TTPConfig
from asynctls.enrolment.est_codec import linked_to
from asynctls.errors import ConfigError
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.name_rules import NameRule
from asynctls.pki.profiles import CMC_RA, Profile
from asynctls.pki.requests import Request, build_request, read_request
from asynctls.ttp import policy
from asynctls.ttp.policy import Decision, Grant, Policy, Rule, checked_grant, judge_link

KEY = generate_now(KeyType.ECDSA_P256)
GRANT = Grant(
    "server", ("server", "10.0.0.1", "spiffe://td/x"), Profile.SERVER, timedelta(hours=24)
)


def request(*extensions: x509.ExtensionType, common_name: str | None = None) -> Request:
    subject = [] if common_name is None else [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    csr = builder.sign(KEY, hashes.SHA256())
    return read_request(csr.public_bytes(serialization.Encoding.DER))


def decide(asked: Request, grant: Grant, limits: Policy | None = None) -> Decision:
    return policy.decide(asked, grant, limits or Policy())


def reason_of(asked: Request, grant: Grant) -> str:
    refusal = decide(asked, grant).refusal
    return "" if refusal is None else refusal.reason


def names(*sans: x509.GeneralName) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(sans)


def usage(**used: bool) -> x509.KeyUsage:
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: used.get(name, False) for name in every.split()})


def test_a_request_that_names_nothing_is_allowed() -> None:
    assert decide(request(), GRANT) == Decision((), GRANT.sans, ())


def test_a_request_may_name_what_was_granted_in_any_form() -> None:
    asked = request(names(x509.DNSName("SERVER")), common_name="Server")
    assert decide(asked, GRANT).refusal is None
    assert decide(request(common_name="10.0.0.1"), GRANT).refusal is None


def test_every_reason_is_given_at_once() -> None:
    asked = request(
        names(x509.DNSName("server"), x509.DNSName("other"), x509.RFC822Name("a@b.example")),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, CMC_RA]),
        usage(digital_signature=True, key_encipherment=True),
        common_name="somebody else",
    )
    text = reason_of(asked, GRANT)
    for word in ("'somebody else'", "name other ", "a@b.example", "key encipherment", "cmcRA"):
        assert word in text


@pytest.mark.parametrize(
    ("profile", "allowed"),
    [
        (Profile.SERVER, {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}),
        (Profile.CLIENT, {ExtendedKeyUsageOID.CLIENT_AUTH}),
        (Profile.PEER, {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}),
    ],
)
def test_a_usage_may_be_asked_for_if_the_profile_has_it(
    profile: Profile, allowed: set[x509.ObjectIdentifier]
) -> None:
    grant = Grant("server", ("server",), profile, timedelta(hours=1))
    for use in (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH, CMC_RA):
        refusal = decide(request(x509.ExtendedKeyUsage([use])), grant).refusal
        assert (refusal is None) == (use in allowed)


def test_other_extensions_are_ignored_and_listed() -> None:
    asked = request(x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()))
    decision = decide(asked, GRANT)
    assert decision.refusal is None
    assert len(decision.ignored) == 1


def test_a_grant_has_each_name_once_in_canonical_form() -> None:
    grant = checked_grant(
        "SERVER.example",
        sans=["server.example", "::0001"],
        profile=Profile.PEER,
        ttl=timedelta(minutes=1),
        lifetime=timedelta(seconds=5),
    )
    assert grant.name == "server.example"
    assert grant.sans == ("server.example", "::1")


def test_every_fault_of_a_grant_is_named_with_its_key() -> None:
    with pytest.raises(ConfigError) as caught:
        checked_grant(
            "no name",
            sans=["good", "*.bad"],
            profile=Profile.TTP,
            ttl=timedelta(0),
            lifetime=timedelta(days=40_000),
        )
    assert [fault.key for fault in caught.value.faults] == [
        "name",
        "san",
        "role",
        "ttl",
        "lifetime",
    ]


def test_each_rule_has_its_own_name_and_a_status_of_the_client() -> None:
    assert len({rule.text for rule in Rule}) == len(Rule)
    assert {rule.status for rule in Rule} == {400, 401, 403, 429}


# The policy of the config


def limits(**settings: object) -> Policy:
    return Policy.of(TTPConfig(**settings))  # type: ignore[arg-type]


def rules_of(asked: Request, grant: Grant, policy: Policy) -> list[Rule]:
    return [refusal.rule for refusal in decide(asked, grant, policy).refusals]


def test_without_a_policy_anything_may_be_granted() -> None:
    assert limits() == Policy()
    assert rules_of(request(), GRANT, limits()) == []


@pytest.mark.parametrize(
    ("allow_names", "allowed"),
    [
        (("server", "10.0.0.0/8", "spiffe://td/*"), True),
        (("server", "10.0.0.0/8"), False),
        ((".server",), False),
    ],
)
def test_every_name_that_would_be_certified_must_be_allowed(
    *, allow_names: tuple[str, ...], allowed: bool
) -> None:
    decision = decide(request(), GRANT, limits(allow_names=allow_names))
    assert (decision.refusal is None) == allowed
    if decision.refusal is not None:
        assert decision.refusal.rule is Rule.NAME_NOT_ALLOWED
        assert "spiffe://td/x" in decision.refusal.reason
        assert "allow_names" in decision.refusal.reason


@pytest.mark.parametrize(
    ("allowed", "rules"),
    [
        (("ecdsa-p256",), []),
        (("rsa-4096", "ecdsa-p256"), []),
        (("ecdsa-p384",), [Rule.KEY_TYPE_NOT_ALLOWED]),
        (("rsa-2048",), [Rule.KEY_TYPE_NOT_ALLOWED]),
    ],
)
def test_a_kind_of_key_stands_for_its_algorithm_from_that_size_on(
    allowed: tuple[str, ...], rules: list[Rule]
) -> None:
    assert rules_of(request(), GRANT, limits(allow_key_types=allowed)) == rules
    own = replace(GRANT, key_types=tuple(map(KeyType, allowed)))
    assert rules_of(request(), own, limits()) == rules


def test_larger_keys_of_the_same_algorithm_are_as_good() -> None:
    assert KeyType.RSA_4096.at_least(KeyType.RSA_3072)
    assert KeyType.ECDSA_P384.at_least(KeyType.ECDSA_P256)
    assert not KeyType.RSA_2048.at_least(KeyType.RSA_3072)
    assert not KeyType.ECDSA_P384.at_least(KeyType.RSA_2048)


def test_a_profile_may_be_shut_out() -> None:
    assert rules_of(request(), GRANT, limits(allow_profiles=("client",))) == [
        Rule.PROFILE_NOT_ALLOWED
    ]
    assert rules_of(request(), GRANT, limits(allow_profiles=("client", "server"))) == []


def test_a_lifetime_is_cut_to_the_longest_one() -> None:
    assert limits().lifetime(timedelta(days=1)) == timedelta(days=1)
    shortest = limits(max_lifetime=timedelta(hours=1))
    assert shortest.lifetime(timedelta(days=1)) == timedelta(hours=1)
    assert shortest.lifetime(timedelta(minutes=1)) == timedelta(minutes=1)


def test_all_rules_against_a_request_are_told_and_the_first_names_them() -> None:
    policy = limits(allow_names=(".x.y",), allow_profiles=("peer",), allow_key_types=("rsa-2048",))
    asked = request(names(x509.DNSName("more")))
    assert rules_of(asked, GRANT, policy) == [
        Rule.BEYOND_GRANT,
        Rule.NAME_NOT_ALLOWED,
        Rule.PROFILE_NOT_ALLOWED,
        Rule.KEY_TYPE_NOT_ALLOWED,
    ]
    refusal = decide(asked, GRANT, policy).refusal
    assert refusal is not None
    for word in ("the name more", "allow_names", "allow_profiles", "allow_key_types"):
        assert word in refusal.reason


def test_a_name_rule_that_is_none_is_named_with_its_key() -> None:
    with pytest.raises(ConfigError) as caught:
        limits(allow_names=("a b", "ok", "1.2.3.4/33"))
    assert [fault.key for fault in caught.value.faults] == ["ttp.allow_names"] * 2


def test_a_grant_that_the_policy_would_refuse_is_not_made() -> None:
    policy = limits(
        allow_names=(".fleet.example",),
        allow_profiles=("client",),
        max_lifetime=timedelta(hours=1),
    )
    with pytest.raises(ConfigError) as caught:
        checked_grant(
            "server",
            sans=["a.fleet.example"],
            profile=Profile.SERVER,
            ttl=timedelta(minutes=1),
            lifetime=timedelta(hours=2),
            allow_names=["bad name"],
            policy=policy,
        )
    assert [fault.key for fault in caught.value.faults] == [
        "name",
        "allow-name",
        "role",
        "lifetime",
    ]


# Further names that a token lets a request ask for


FLEET = Grant(
    "worker",
    ("worker",),
    Profile.CLIENT,
    timedelta(hours=1),
    (NameRule.parse("*.fleet.example"), NameRule.parse("10.1.0.0/16")),
)


def test_a_request_may_ask_for_what_the_grants_rules_cover() -> None:
    asked = request(
        names(x509.DNSName("W1.fleet.example"), x509.IPAddress(ip_address("10.1.2.3"))),
        common_name="w2.fleet.example",
    )
    decision = decide(asked, FLEET)
    assert decision.refusal is None
    assert decision.sans == ("worker", "w1.fleet.example", "10.1.2.3", "w2.fleet.example")
    assert decide(request(), FLEET).sans == ("worker",)


@pytest.mark.parametrize("name", ["a.b.fleet.example", "fleet.example", "other", "any one"])
def test_and_nothing_else(name: str) -> None:
    for asked in (
        request(common_name=name),
        request(names(x509.DNSName(name))),
        request(names(x509.RFC822Name("a@b.fleet.example"))),
    ):
        assert rules_of(asked, FLEET, Policy()) == [Rule.BEYOND_GRANT]


def test_what_a_request_asks_for_must_be_allowed_to_all_as_well() -> None:
    asked = request(names(x509.DNSName("w1.fleet.example")))
    policy = limits(allow_names=("worker", "w2.fleet.example"))
    assert rules_of(asked, FLEET, policy) == [Rule.NAME_NOT_ALLOWED]


# Linking


def linked(challenge_password: str | None) -> Request:
    return read_request(build_request(KEY, challenge_password=challenge_password))


def rule_of_link(asked: Request, tls_unique: bytes | None, policy: Policy) -> Rule | None:
    refusal = judge_link(asked, tls_unique, policy)
    return None if refusal is None else refusal.rule


@pytest.mark.parametrize("required", [False, True])
def test_a_link_that_is_there_must_be_this_connections(*, required: bool) -> None:
    here, policy = b"u" * 12, limits(require_linking=required)
    assert rule_of_link(linked(linked_to(here)), here, policy) is None
    for password, unique in (
        (linked_to(b"v" * 12), here),
        (linked_to(here), None),
        ("typed by hand", here),
        ("", here),
        ("dXU=ü", here),
    ):
        assert rule_of_link(linked(password), unique, policy) is Rule.LINKED_ELSEWHERE


def test_a_link_can_be_demanded() -> None:
    assert rule_of_link(linked(None), b"u" * 12, limits()) is None
    assert rule_of_link(linked(None), b"u" * 12, limits(require_linking=True)) is Rule.NOT_LINKED
