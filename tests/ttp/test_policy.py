"""Nothing beyond the grant, and every reason at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from asynctls.errors import ConfigError
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.profiles import CMC_RA, Profile
from asynctls.pki.requests import Request, read_request
from asynctls.ttp.policy import Decision, Grant, Rule, checked_grant, decide

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


def names(*sans: x509.GeneralName) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(sans)


def usage(**used: bool) -> x509.KeyUsage:
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: used.get(name, False) for name in every.split()})


def test_a_request_that_names_nothing_is_allowed() -> None:
    assert decide(request(), GRANT) == Decision((), ())


def test_a_request_may_name_what_was_granted_in_any_form() -> None:
    asked = request(names(x509.DNSName("SERVER")), common_name="Server")
    assert decide(asked, GRANT).reasons == ()
    assert decide(request(common_name="10.0.0.1"), GRANT).reasons == ()


def test_every_reason_is_given_at_once() -> None:
    asked = request(
        names(x509.DNSName("server"), x509.DNSName("other"), x509.RFC822Name("a@b.example")),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, CMC_RA]),
        usage(digital_signature=True, key_encipherment=True),
        common_name="somebody else",
    )
    reasons = decide(asked, GRANT).reasons
    assert len(reasons) == 5
    text = "; ".join(reasons)
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
        reasons = decide(request(x509.ExtendedKeyUsage([use])), grant).reasons
        assert (reasons == ()) == (use in allowed)


def test_other_extensions_are_ignored_and_listed() -> None:
    asked = request(x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()))
    decision = decide(asked, GRANT)
    assert decision.reasons == ()
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
