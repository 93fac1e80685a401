"""Every certificate, CRL and OCSP answer of every profile, before linters that nobody here wrote.

pkilint's PKIX linters find no error, but for the syntax of DNS names of a single label (`server`):
RFC 5280 allows them, and on a private network they are what hosts are called.

URIs of other schemes than the web's have a test of their own, since pkilint is wrong about them.

`openssl verify -x509_strict` and `certtool --verify` say the same of the chains.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPRequestBuilder, load_der_ocsp_response
from msgspec.structs import replace
from pkilint.bin import (  # type: ignore[import-untyped]
    lint_crl,
    lint_ocsp_response,
    lint_pkix_cert,
)

from asynctls.config import TTPConfig
from asynctls.pki.certificates import to_der, to_pem
from asynctls.pki.constraints import name_constraints
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.ocsp import NotRevoked, Responder, StatusRequest, issuer_ids
from asynctls.pki.pointers import Pointers
from asynctls.pki.profiles import (
    Issuer,
    Profile,
    issue,
    make_issuing,
    make_responder,
    make_root,
)
from asynctls.pki.requests import build_request
from asynctls.pki.status import REASONS, Revoked, sign_crl
from asynctls.ttp.authority import Authority
from tests.peers.conftest import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography import x509

    from asynctls.pki.ocsp import Status
    from tests.peers.conftest import OpenSSL, Program

# The linters' command-line entry points leave the file that they read to be closed by itself.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*linted:ResourceWarning")

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)

BASE = "http://ca.example.org"
SANS = (
    ("server",),
    ("server.example.org", "www.example.org"),
    ("10.0.0.1",),
    ("fe80::1",),
    ("https://example.org/web",),
    ("https://10.0.0.1:8443/web?a=b",),
    (f"{'x' * 60}.example.org",),
)

EXEMPT = (("pkix.invalid_domain_name_syntax", r'Invalid domain name syntax: "[a-z0-9-]+"'),)

ROLES = (Profile.SERVER, Profile.CLIENT, Profile.PEER)


@dataclass(frozen=True)
class House:
    root: Issuer
    issuing: Issuer
    responder: Responder
    now: datetime

    def leaf(self, profile: Profile, *sans: str) -> x509.Certificate:
        return issue(
            profile,
            issuer=self.issuing,
            public_key=self.responder.certificate.public_key(),  # type: ignore[arg-type]
            sans=sans,
            lifetime=DAY,
            now=self.now,
        )


@pytest.fixture(
    scope="module",
    params=[(KeyType.ECDSA_P256, True), (KeyType.RSA_2048, True), (KeyType.ECDSA_P384, False)],
    ids=["P-256", "RSA", "P-384, no URLs"],
)
def pki(request: pytest.FixtureRequest) -> House:
    key_type, public = request.param
    now = datetime.now(UTC).replace(microsecond=0)
    root_key, issuing_key, key = (generate_now(key_type) for _ in range(3))
    root = Issuer(
        make_root(root_key, lifetime=3652 * DAY, now=now),
        root_key,
        Pointers(crl=f"{BASE}/crl/root") if public else None,
    )
    certificate = make_issuing(
        issuing_key.public_key(),
        issuer=root,
        lifetime=730 * DAY,
        now=now,
    )
    everything = Pointers(crl=f"{BASE}/crl/a1", ocsp=f"{BASE}/ocsp", issuer=f"{BASE}/ca/a1")
    issuing = Issuer(certificate, issuing_key, everything if public else None)
    made = make_responder(key.public_key(), issuer=issuing, lifetime=7 * DAY, now=now)
    responder = Responder(certificate, made, key)
    return House(root, issuing, responder, now)


class Lint(Protocol):
    def __call__(
        self, linter: Callable[[list[str]], int], der: bytes, *options: str
    ) -> list[tuple[str, str]]: ...


@pytest.fixture
def errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Lint:
    """What a linter finds wrong: code and message of each finding of -s ERROR, the exempt apart."""

    def lint(
        linter: Callable[[list[str]], int], der: bytes, *options: str
    ) -> list[tuple[str, str]]:
        path = tmp_path / "linted.der"
        path.write_bytes(der)
        capsys.readouterr()  # what was said before, by whomever
        code = linter(["lint", *options, "-s", "ERROR", "-f", "JSON", str(path)])
        found = [
            (finding["code"], finding["message"])
            for result in json.loads(capsys.readouterr().out)["results"]
            for finding in result["finding_descriptions"]
        ]
        assert code == len(found)
        return [
            (name, message)
            for name, message in found
            if not any(name == rule and re.fullmatch(words, message) for rule, words in EXEMPT)
        ]

    return lint


def test_the_linter_does_find_errors(pki: House, errors: Lint) -> None:
    wrong = issue(
        Profile.CLIENT,
        issuer=replace(pki.issuing, pointers=Pointers(crl="no URL")),
        public_key=pki.responder.certificate.public_key(),  # type: ignore[arg-type]
        sans=["client"],
        lifetime=DAY,
        now=pki.now,
    )
    found = errors(lint_pkix_cert.main, to_der(wrong))
    assert [code for code, _ in found] == ["pkix.invalid_uri_syntax"]


def test_the_cas_and_the_responder_are_without_an_error(pki: House, errors: Lint) -> None:
    for certificate in (pki.root.certificate, pki.issuing.certificate, pki.responder.certificate):
        assert errors(lint_pkix_cert.main, to_der(certificate)) == []


@pytest.mark.parametrize("names", [["example.org", "10.0.0.0/8"], ["server", "uri:example.org"]])
def test_a_constrained_issuing_ca_is_without_an_error(
    pki: House, errors: Lint, names: list[str]
) -> None:
    constrained = make_issuing(
        pki.responder.certificate.public_key(),  # type: ignore[arg-type]
        issuer=pki.root,
        lifetime=DAY,
        now=pki.now,
        constraints=name_constraints(names),
    )
    assert errors(lint_pkix_cert.main, to_der(constrained)) == []


@pytest.mark.parametrize("profile", [Profile.TTP, *ROLES])
def test_every_leaf_is_without_an_error(pki: House, errors: Lint, profile: Profile) -> None:
    for sans in SANS:
        assert errors(lint_pkix_cert.main, to_der(pki.leaf(profile, *sans))) == []


@pytest.mark.parametrize("profile", ROLES)
def test_of_a_uri_the_linter_knows_the_webs_schemes_only(
    pki: House, errors: Lint, profile: Profile
) -> None:
    """A mistake of pkilint's: it asks the package `validators`, whose URLs are the web's.

    RFC 5280, section 4.2.1.6, wants a scheme and the syntax of RFC 3986, of whatever scheme; and a
    fully qualified domain name or an IP address as host where the URI has an authority at all
    (`urn:` has none). That only the scheme is objected to shows in the same URI with another one.
    """
    for uri in ("spiffe://example.org/web/1", "urn:dev:mac:0024befffe804ff1"):
        (found,) = errors(lint_pkix_cert.main, to_der(pki.leaf(profile, uri)))
        assert found == ("pkix.invalid_uri_syntax", f'Invalid URI syntax: "{uri}"')
        with_host = uri.replace("spiffe:", "https:").replace("urn:", "https://example.org/")
        assert errors(lint_pkix_cert.main, to_der(pki.leaf(profile, with_host))) == []


def test_every_crl_is_without_an_error(pki: House, errors: Lint) -> None:
    revoked = [Revoked(1000 + n, pki.now, reason) for n, reason in enumerate(REASONS)]
    for listed in ([], [*revoked, Revoked(7, pki.now)]):
        der = sign_crl(pki.issuing, number=8, revoked=listed, now=pki.now, lifetime=DAY)
        assert errors(lint_crl.main, der, "-t", "CRL", "-p", "PKIX") == []
    der = sign_crl(pki.root, number=9, revoked=[], now=pki.now, lifetime=180 * DAY)
    assert errors(lint_crl.main, der, "-t", "ARL", "-p", "PKIX") == []


def test_every_ocsp_answer_is_without_an_error(pki: House, errors: Lint) -> None:
    issuer = next(each for each in issuer_ids(pki.issuing.certificate) if each.algorithm == "sha1")
    revoked: list[Status] = [Revoked(7, pki.now, reason) for reason in (*REASONS, None)]
    for status in (NotRevoked.GOOD, NotRevoked.UNKNOWN, *revoked):
        for nonce in (None, b"n" * 32):
            request = StatusRequest(issuer, 7, nonce, hashes.SHA1())
            answer = pki.responder.sign(request, status, now=pki.now, lifetime=HOUR)
            assert errors(lint_ocsp_response.main, answer.der) == []


def test_openssl_and_gnutls_verify_every_profile_strictly(
    pki: House, openssl: OpenSSL, program: Program, tmp_path: Path
) -> None:
    root, chain, leaf = (tmp_path / name for name in ("root.pem", "chain.pem", "leaf.pem"))
    root.write_text(to_pem(pki.root.certificate))
    chain.write_text(to_pem(pki.issuing.certificate))
    trust = tmp_path / "trust.pem"
    trust.write_text(root.read_text() + chain.read_text())
    leaves = [pki.responder.certificate]
    leaves += [pki.leaf(profile, *SANS[1]) for profile in (Profile.TTP, *ROLES)]
    certtool = program("certtool")
    for certificate in leaves:
        leaf.write_text(to_pem(certificate))
        given = ("-x509_strict", "-CAfile", root, "-untrusted", chain)
        assert "OK" in openssl("verify", *given, leaf).ok()
        checked = ("--verify-profile", "medium", "--verify", "--infile", leaf)
        verified = run(certtool, "--load-ca-certificate", trust, *checked).ok()
        assert "Verified. The certificate is trusted." in verified


async def test_all_that_a_running_ttp_made_is_without_an_error(
    errors: Lint, tmp_path: Path
) -> None:
    config = TTPConfig(
        state=tmp_path / "ttp",
        root_key_type="ecdsa-p256",
        issuing_key_type="ecdsa-p256",
        status_url="http://ca.example.org",
    )
    async with await Authority.open(config) as authority:
        token_id, secret = await authority.create_token(
            "peer.example.org", profile=Profile.PEER, ttl=HOUR, lifetime=HOUR
        )
        request = build_request(generate_now(KeyType.ECDSA_P256))
        leaf = await authority.enrol(
            token_id, secret.reveal().decode(), request, address="192.0.2.1:4711"
        )
        await authority.revoke("peer.example.org", reason="keyCompromise")
        shown = authority.tls_certificate
        assert shown is not None
        issuing = authority.ca_certificates[0]
        asked = OCSPRequestBuilder().add_certificate(leaf, issuing, hashes.SHA256()).build()
        answer = await authority.ocsp.answer(asked.public_bytes(Encoding.DER))
        (responder,) = load_der_ocsp_response(answer.der).certificates
        for certificate in (*authority.ca_certificates, shown, leaf, responder):
            assert errors(lint_pkix_cert.main, to_der(certificate)) == []
        assert errors(lint_ocsp_response.main, answer.der) == []
        assert errors(lint_crl.main, authority.crl_der, "-t", "CRL", "-p", "PKIX") == []
        root_crl = await authority.root_crl_der()
        assert errors(lint_crl.main, root_crl, "-t", "ARL", "-p", "PKIX") == []
