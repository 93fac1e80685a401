from __future__ import annotations

import ssl
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    ExtensionOID,
)
from msgspec.structs import replace

from asynctls.errors import CertificateError
from asynctls.pki.certificates import to_pem
from asynctls.pki.keys import KeyType, key_to_pem
from asynctls.pki.pointers import Pointers
from asynctls.pki.profiles import (
    CMC_RA,
    Issuer,
    Profile,
    issue,
    make_issuing,
    make_responder,
    make_root,
)
from asynctls.pki.status import Revoked, sign_crl

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.pki.conftest import CA, KeyOf, MakeCA

DAY = timedelta(days=1)
LEAVES = (Profile.TTP, Profile.SERVER, Profile.CLIENT, Profile.PEER)
KEY_TYPES = tuple(KeyType)


def critical(certificate: x509.Certificate) -> dict[x509.ObjectIdentifier, bool]:
    return {extension.oid: extension.critical for extension in certificate.extensions}


def test_the_root_is_what_the_design_says(ca: CA) -> None:
    root = ca.root.certificate
    assert isinstance(root.signature_hash_algorithm, hashes.SHA256)
    assert root.subject == root.issuer
    assert critical(root) == {
        ExtensionOID.BASIC_CONSTRAINTS: True,
        ExtensionOID.KEY_USAGE: True,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
    }
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert constraints == x509.BasicConstraints(ca=True, path_length=None)
    assert root.not_valid_before_utc == ca.now - timedelta(seconds=60)
    assert root.not_valid_after_utc == ca.now + 3652 * DAY


def test_the_issuing_ca_is_what_the_design_says(ca: CA) -> None:
    issuing = ca.issuing.certificate
    assert isinstance(issuing.signature_hash_algorithm, hashes.SHA384)
    constraints = issuing.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    usage = issuing.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.crl_sign) == (True, True)
    assert not usage.value.digital_signature
    assert issuing.issuer == ca.root.certificate.subject


def test_two_cas_never_share_a_name(ca: CA, other_ca: CA) -> None:
    cas = [ca.root, ca.issuing, other_ca.root, other_ca.issuing]
    assert len({issuer.certificate.subject for issuer in cas}) == 4
    assert "asynctls root CA" in str(ca.root.certificate.subject)
    assert "asynctls issuing CA" in str(ca.issuing.certificate.subject)


def test_a_responder_is_what_the_rfc_asks_for(ca: CA, key_of: KeyOf) -> None:
    key = key_of(which="responder").public_key()
    responder = make_responder(key, issuer=ca.issuing, lifetime=7 * DAY, now=ca.now)
    assert critical(responder) == {
        ExtensionOID.OCSP_NO_CHECK: False,
        ExtensionOID.KEY_USAGE: True,
        ExtensionOID.EXTENDED_KEY_USAGE: False,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
    }
    uses = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    assert responder.not_valid_after_utc == ca.now + 7 * DAY
    assert "asynctls OCSP responder" in str(responder.subject)


def test_where_to_ask_for_its_status_stands_in_a_certificate(ca: CA, key_of: KeyOf) -> None:
    base = "http://ca.example"
    everything = Pointers(crl=f"{base}/crl/7", ocsp=f"{base}/ocsp", issuer=f"{base}/ca/7")
    key = key_of(which="leaf").public_key()
    leaf = issue(
        Profile.SERVER,
        issuer=replace(ca.issuing, pointers=everything),
        public_key=key,
        sans=["server"],
        lifetime=DAY,
        now=ca.now,
    )
    points = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints)
    assert not points.critical
    assert urls_of(points.value) == [f"{base}/crl/7"]
    access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert [(each.access_method, each.access_location.value) for each in access] == [
        (AuthorityInformationAccessOID.OCSP, f"{base}/ocsp"),
        (AuthorityInformationAccessOID.CA_ISSUERS, f"{base}/ca/7"),
    ]
    crl_alone = Pointers(crl=f"{base}/crl/root")
    root = replace(ca.root, pointers=crl_alone)
    issuing = make_issuing(key, issuer=root, lifetime=DAY, now=ca.now)
    points = issuing.extensions.get_extension_for_class(x509.CRLDistributionPoints)
    assert urls_of(points.value) == [f"{base}/crl/root"]
    assert ExtensionOID.AUTHORITY_INFORMATION_ACCESS not in critical(issuing)


def urls_of(points: x509.CRLDistributionPoints) -> list[str]:
    return [name.value for point in points for name in point.full_name or ()]


@pytest.mark.parametrize("profile", LEAVES)
def test_a_leaf_is_what_the_design_says(ca: CA, profile: Profile) -> None:
    leaf = ca.leaf("10.0.0.1", "Server", "server", profile=profile)
    assert isinstance(leaf.signature_hash_algorithm, hashes.SHA384)
    assert critical(leaf) == {
        ExtensionOID.KEY_USAGE: True,
        ExtensionOID.EXTENDED_KEY_USAGE: False,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME: False,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
    }
    extensions = leaf.extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_encipherment
    uses = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert (
        uses
        == {
            Profile.TTP: {ExtendedKeyUsageOID.SERVER_AUTH, CMC_RA},
            Profile.SERVER: {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH},
            Profile.CLIENT: {ExtendedKeyUsageOID.CLIENT_AUTH},
            Profile.PEER: {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH},
        }[profile]
    )
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["10.0.0.1", "server"]
    assert leaf.subject.rfc4514_string() == "CN=server"
    own = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    issuers = ca.issuing.certificate.extensions
    subject_key_id = issuers.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert own.key_identifier == subject_key_id.digest
    assert (own.authority_cert_issuer, own.authority_cert_serial_number) == (None, None)


def test_a_name_too_long_for_a_common_name_leaves_the_subject_empty(ca: CA) -> None:
    longest = "a" * 60 + ".org"
    assert ca.leaf(longest).subject.rfc4514_string() == f"CN={longest}"
    leaf = ca.leaf(f"b{longest[1:]}x")
    assert list(leaf.subject) == []
    assert critical(leaf)[ExtensionOID.SUBJECT_ALTERNATIVE_NAME]


def test_serial_numbers_are_positive_random_and_of_20_octets_at_most(ca: CA) -> None:
    serial_numbers = {ca.leaf("client").serial_number for _ in range(20)}
    assert len(serial_numbers) == 20
    assert all(0 < number < 1 << 159 for number in serial_numbers)
    assert max(serial_numbers).bit_length() > 128


def test_a_serial_number_drawn_beforehand_is_used(ca: CA, key_of: KeyOf) -> None:
    def numbered(serial_number: int) -> x509.Certificate:
        return issue(
            Profile.CLIENT,
            issuer=ca.issuing,
            public_key=key_of().public_key(),
            sans=["client"],
            lifetime=DAY,
            now=ca.now,
            serial_number=serial_number,
        )

    assert numbered((1 << 159) - 1).serial_number == (1 << 159) - 1
    for serial_number in (0, -1, 1 << 159):
        with pytest.raises(CertificateError, match="serial number"):
            numbered(serial_number)


@pytest.mark.parametrize(
    ("lifetime", "backdating"),
    [(DAY, 60), (timedelta(seconds=5), 5), (timedelta(seconds=60.9), 60)],
)
def test_backdating_is_the_lesser_of_a_minute_and_the_lifetime(
    ca: CA, lifetime: timedelta, backdating: int
) -> None:
    leaf = ca.leaf("client", lifetime=lifetime)
    assert leaf.not_valid_before_utc == ca.now - timedelta(seconds=backdating)
    assert leaf.not_valid_after_utc == ca.now + lifetime - lifetime % timedelta(seconds=1)


def test_no_certificate_outlives_its_issuer(ca: CA) -> None:
    leaf = ca.leaf("client", lifetime=5000 * DAY)
    assert leaf.not_valid_after_utc == ca.issuing.certificate.not_valid_after_utc
    end = ca.root.certificate.not_valid_after_utc
    key = ca.issuing.key.public_key()
    late = make_issuing(key, issuer=ca.root, lifetime=DAY, now=end - DAY / 2)
    assert late.not_valid_after_utc == end
    with pytest.raises(CertificateError, match=f"expired on {end:%Y-%m-%d}"):
        make_issuing(key, issuer=ca.root, lifetime=DAY, now=end)


@pytest.mark.parametrize("lifetime", [timedelta(), timedelta(seconds=0.9), timedelta(seconds=-5)])
def test_a_lifetime_is_a_second_at_least(ca: CA, lifetime: timedelta) -> None:
    with pytest.raises(CertificateError, match="one second"):
        ca.leaf("client", lifetime=lifetime)


def test_a_leaf_without_a_name_or_with_a_wildcard_is_not_issued(ca: CA) -> None:
    with pytest.raises(CertificateError, match="needs one"):
        ca.leaf()
    with pytest.raises(CertificateError, match="wildcard"):
        ca.leaf("*.example.org")


@pytest.mark.parametrize("profile", [Profile.ROOT, Profile.ISSUING, Profile.OCSP])
def test_a_ca_or_its_responder_is_never_issued_to_a_role(ca: CA, profile: Profile) -> None:
    with pytest.raises(CertificateError, match="no role's profile"):
        ca.leaf("client", profile=profile)


def test_an_issuer_is_a_ca_with_its_own_key(ca: CA, key_of: KeyOf) -> None:
    with pytest.raises(CertificateError, match="does not belong"):
        Issuer(ca.root.certificate, ca.issuing.key)
    with pytest.raises(CertificateError, match="not a CA"):
        Issuer(ca.leaf("client", key=key_of()), key_of())
    assert "key" not in repr(ca.root)


def test_a_date_beyond_2049_is_written_as_the_rfc_wants(ca: CA, key_of: KeyOf) -> None:
    root = make_root(key_of(), lifetime=20_000 * DAY, now=ca.now)
    assert root.not_valid_after_utc.year > 2050
    endless = make_root(key_of(), lifetime=timedelta.max, now=ca.now)
    assert f"{endless.not_valid_after_utc:%Y%m%d%H%M%S}Z" == "99991231235959Z"


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_openssl_and_certtool_accept_every_profile_strictly(
    program: Callable[[str], Path],
    tmp_path: Path,
    make_ca: MakeCA,
    key_of: KeyOf,
    key_type: KeyType,
) -> None:
    ca = make_ca(key_type)
    revoked = [Revoked(5, ca.now, "keyCompromise"), Revoked(6, ca.now - DAY)]
    root, issuing = tmp_path / "root.pem", tmp_path / "issuing.pem"
    root.write_text(to_pem(ca.root.certificate))
    issuing.write_text(to_pem(ca.issuing.certificate))
    lists = (
        sign_crl(ca.issuing, number=1, revoked=revoked, now=ca.now, lifetime=DAY),
        sign_crl(ca.root, number=1, revoked=[], now=ca.now, lifetime=3652 * DAY),
    )
    crls = tmp_path / "crls.pem"
    crls.write_text("".join(ssl_pem(der) for der in lists))
    both = ["sslclient", "sslserver"]
    purposes = {Profile.CLIENT: ["sslclient"], Profile.SERVER: both, Profile.PEER: both}
    for profile in LEAVES:
        certificate = ca.leaf("server", "::1", profile=profile, key=key_of(key_type, "leaf"))
        leaf, chain = tmp_path / "leaf.pem", tmp_path / "chain.pem"
        leaf.write_text(to_pem(certificate))
        chain.write_text(to_pem(certificate, ca.issuing.certificate))
        for purpose in purposes.get(profile, ["sslserver"]):
            run(
                [
                    program("openssl"),
                    "verify",
                    "-x509_strict",
                    "-crl_check_all",
                    "-purpose",
                    purpose,
                    "-CAfile",
                    root,
                    "-untrusted",
                    issuing,
                    "-CRLfile",
                    crls,
                    leaf,
                ]
            )
        run([program("certtool"), "--verify", "--load-ca-certificate", root, "--infile", chain])


@pytest.mark.parametrize("key_type", KEY_TYPES)
@pytest.mark.parametrize("profile", LEAVES)
def test_python_accepts_each_profile_for_its_purpose_alone(
    tmp_path: Path, make_ca: MakeCA, key_of: KeyOf, key_type: KeyType, profile: Profile
) -> None:
    ca = make_ca(key_type)
    key = key_of(key_type, "leaf")
    ours = ca.leaf("server.example", profile=profile, key=key)
    partner = ca.leaf("server.example", profile=Profile.PEER, key=key)
    as_server = shake_hands(tmp_path, ca, key_to_pem(key), server=ours, client=partner)
    as_client = shake_hands(tmp_path, ca, key_to_pem(key), server=partner, client=ours)
    refused = "unsupported certificate purpose|unsuitable certificate purpose"
    assert as_server in refused if profile is Profile.CLIENT else as_server == "ok"
    assert as_client in refused if profile is Profile.TTP else as_client == "ok"


def shake_hands(
    folder: Path, ca: CA, key: bytes, *, server: x509.Certificate, client: x509.Certificate
) -> str:
    """'ok', or why the chain was not verified; in memory."""
    names = {"server": server, "client": client}
    contexts = {}
    for role, protocol in (
        ("server", ssl.PROTOCOL_TLS_SERVER),
        ("client", ssl.PROTOCOL_TLS_CLIENT),
    ):
        chain = folder / f"{role}.pem"
        chain.write_text(key.decode() + to_pem(names[role], ca.issuing.certificate))
        context = ssl.SSLContext(protocol)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.verify_mode = ssl.CERT_REQUIRED
        context.hostname_checks_common_name = False
        context.load_verify_locations(cadata=to_pem(ca.root.certificate))
        context.load_cert_chain(chain)
        contexts[role] = context
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        contexts["client"].wrap_bio(to_client, to_server, server_hostname="server.example"),
        contexts["server"].wrap_bio(to_server, to_client, server_side=True),
    ]
    for end in ends * 3:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError as error:
            return str(error.verify_message)
    assert all(end.getpeercert() for end in ends)
    return "ok"


def ssl_pem(der: bytes) -> str:
    return ssl.DER_cert_to_PEM_cert(der).replace("CERTIFICATE", "X509 CRL")


def run(command: list[Path | str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
