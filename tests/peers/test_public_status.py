"""A certificate's status as other programs look it up: by the URLs in it, over plain HTTP.

OpenSSL and GnuTLS ask by OCSP, OpenSSL fetches a CRL by itself, and curl whatever there is.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from cryptography import x509

from asynctls.config import Address, TTPConfig
from asynctls.enrolment import Identity, JoinString, join
from asynctls.pki.certificates import certificate_from_der, certificates_from_pem, to_pem
from asynctls.pki.keys import KeyType
from asynctls.pki.profiles import Profile
from asynctls.ttp.authority import Authority
from tests.peers.conftest import TIMEOUT_S, Daemon, run
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.conftest import OpenSSL, Program, Ran

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class PublicTTP:
    """A running TTP whose certificates say where it answers."""

    folder: Path
    daemon: Daemon
    config: TTPConfig

    @property
    def url(self) -> str:
        return str(self.config.status_url)

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    @property
    def issuing(self) -> Path:
        return self.folder / "issuing.pem"

    def joined(self, name: str) -> Identity:
        return asyncio.run(self._join(name))

    async def _join(self, name: str) -> Identity:
        async with await Authority.beside(self.config) as authority:
            token_id, secret = await authority.create_token(
                name, profile=Profile.PEER, ttl=HOUR, lifetime=HOUR
            )
            token = JoinString(token_id, secret, self.config.listen, name, authority.root_sha256)
        patience = timedelta(seconds=TIMEOUT_S)
        kind = KeyType.ECDSA_P256
        return await join(self.folder / name, token, key_type=kind, give_up_after=patience)

    def revoke(self, name: str) -> None:
        """Revokes beside the daemon; returns once the daemon knows."""

        async def revoke() -> None:
            async with await Authority.beside(self.config) as authority:
                await authority.revoke(name, reason="keyCompromise")

        since = self.daemon.now()
        asyncio.run(revoke())
        self.daemon.until("CRL current", since=since)


@pytest.fixture(scope="module", params=["asyncio, P-256", "uvloop, RSA"])
def ttp(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PublicTTP]:
    folder = tmp_path_factory.mktemp("public")
    loop, _, kind = request.param.partition(", ")
    key_type = {"P-256": "ecdsa-p256", "RSA": "rsa-2048"}[kind]
    # What stands in the certificates must be known before the daemon listens there.
    status = f"127.0.0.1:{free_port()}"
    with contextlib.ExitStack() as stack:
        daemon = Daemon(
            loop,
            *("ttp", "--state", str(folder / "ttp"), "--listen", "127.0.0.1:0"),
            *("--root-key-type", key_type, "--issuing-key-type", key_type),
            *("--status-listen", status, "--status-url", f"http://{status}"),
        )
        stack.callback(daemon.stop)
        assert daemon.until("status served")["address"] == status
        address = Address.parse(daemon.until("listening")["address"])
        config = TTPConfig(state=folder / "ttp", listen=address, status_url=f"http://{status}")
        running = PublicTTP(folder, daemon, config)
        issuing, root = certificates_of(config)
        running.root.write_text(to_pem(root))
        running.issuing.write_text(to_pem(issuing))
        yield running


def certificates_of(config: TTPConfig) -> tuple[x509.Certificate, ...]:
    async def read() -> tuple[x509.Certificate, ...]:
        async with await Authority.beside(config) as authority:
            return authority.ca_certificates

    return asyncio.run(read())


@pytest.fixture(scope="module")
def good(ttp: PublicTTP) -> Identity:
    return ttp.joined("good.example.org")


@pytest.fixture(scope="module")
def revoked(ttp: PublicTTP) -> Identity:
    identity = ttp.joined("revoked.example.org")
    ttp.revoke("revoked.example.org")
    return identity


def ask_openssl(ttp: PublicTTP, openssl: OpenSSL, *words: str | Path) -> Ran:
    """One question of `openssl ocsp`, its answer verified up to the root."""
    trust = ("-issuer", ttp.issuing, "-CAfile", ttp.root, "-verify_other", ttp.issuing)
    return openssl("ocsp", "-url", f"{ttp.url}/ocsp", *trust, *words)


@pytest.mark.parametrize("how", [(), ("-no_nonce",), ("-sha256",)], ids=str)
def test_openssl_is_told_how_a_certificate_stands(
    ttp: PublicTTP, good: Identity, revoked: Identity, openssl: OpenSSL, how: tuple[str, ...]
) -> None:
    ran = ask_openssl(ttp, openssl, *how, "-cert", good.certificate_file)
    assert "Response verify OK" in ran.ok()
    assert f"{good.certificate_file}: good" in ran.printed
    # Its only warning is of an answer without a nonce to a question with one.
    assert "WARNING" not in ran.printed
    ran = ask_openssl(ttp, openssl, *how, "-cert", revoked.certificate_file)
    assert "Response verify OK" in ran.ok()
    assert f"{revoked.certificate_file}: revoked" in ran.printed
    assert "Reason: keyCompromise" in ran.printed


def test_openssl_is_told_what_is_unknown_or_not_this_ttps(ttp: PublicTTP, openssl: OpenSSL) -> None:
    ran = ask_openssl(ttp, openssl, "-serial", "4711")
    assert "Response verify OK" in ran.ok()
    assert "4711: unknown" in ran.printed
    # The root's name and key instead of the issuing CA's.
    ran = openssl("ocsp", "-url", f"{ttp.url}/ocsp", "-issuer", ttp.root, "-serial", "4711")
    assert "Responder Error: unauthorized (6)" in ran.printed


def test_openssl_is_told_to_ask_for_each_certificate_by_itself(
    ttp: PublicTTP, openssl: OpenSSL
) -> None:
    ran = ask_openssl(ttp, openssl, "-serial", "4711", "-serial", "4712")
    assert "Responder Error: malformedrequest (1)" in ran.printed


def test_the_responder_answers_on_the_ttps_own_address_too(
    ttp: PublicTTP, good: Identity, openssl: OpenSSL, program: Program, tmp_path: Path
) -> None:
    request, answer = tmp_path / "request.der", tmp_path / "answer.der"
    named = ("-issuer", ttp.issuing, "-cert", good.certificate_file)
    openssl("ocsp", *named, "-reqout", request).ok()
    posted = ("-H", "Content-Type: application/ocsp-request", "--data-binary", f"@{request}")
    where = f"https://{ttp.config.listen}/ocsp"
    run(program("curl"), "-sSf", "--cacert", ttp.root, *posted, where, "-o", answer).ok()
    read = ("-reqin", request, "-respin", answer)
    trust = ("-CAfile", ttp.root, "-verify_other", ttp.issuing)
    assert "Response verify OK" in openssl("ocsp", *read, *trust).ok()


def test_openssl_fetches_the_crl_by_the_url_in_the_certificate(
    ttp: PublicTTP,
    good: Identity,
    revoked: Identity,
    openssl: OpenSSL,
    program: Program,
    tmp_path: Path,
) -> None:
    """The leaf's by itself; the root's, which it wants for the root as well, from a file."""
    root_crl = tmp_path / "root-crl.der"
    (issuing,) = certificates_from_pem(ttp.issuing.read_bytes())
    run(program("curl"), "-sSf", "-o", root_crl, crl_url_of(issuing)).ok()
    trust = ("-x509_strict", "-CAfile", ttp.root, "-untrusted", ttp.issuing)
    status = ("-crl_check_all", "-crl_download", "-CRLfile", root_crl)
    assert "OK" in openssl("verify", *trust, *status, good.certificate_file).ok()
    ran = openssl("verify", *trust, *status, revoked.certificate_file)
    assert ran.code != 0
    assert "certificate revoked" in ran.printed


def test_gnutls_asks_by_the_url_in_the_certificate(
    ttp: PublicTTP, good: Identity, revoked: Identity, program: Program, tmp_path: Path
) -> None:
    ocsptool = program("ocsptool")
    trust = tmp_path / "trust.pem"
    trust.write_text(ttp.root.read_text() + ttp.issuing.read_text())
    for identity, words in (
        (good, "Certificate Status: good"),
        (revoked, "Certificate Status: revoked"),
    ):
        leaf = ("--load-cert", identity.certificate_file, "--load-issuer", ttp.issuing)
        ran = run(ocsptool, "--ask", "--nonce", *leaf, "--load-trust", trust)
        assert "Verifying OCSP Response: Success." in ran.printed
        assert words in ran.printed, ran.printed


def test_certtool_verifies_with_the_crl_that_curl_fetched(
    ttp: PublicTTP, good: Identity, revoked: Identity, program: Program, tmp_path: Path
) -> None:
    curl, certtool = program("curl"), program("certtool")
    certificate = certificates_from_pem(good.certificate_file.read_bytes())[0]
    crl = tmp_path / "crl.der"
    run(curl, "-sSf", "-o", crl, crl_url_of(certificate)).ok()
    trust = tmp_path / "trust.pem"
    trust.write_text(ttp.root.read_text() + ttp.issuing.read_text())
    pem = run(certtool, "--crl-info", "--inder", "--infile", crl, "--no-text").out
    (tmp_path / "crl.pem").write_bytes(pem)
    given = ("--load-ca-certificate", trust, "--load-crl", tmp_path / "crl.pem", "--verify")
    ran = run(certtool, *given, "--infile", good.certificate_file)
    assert "Verified. The certificate is trusted." in ran.ok()
    ran = run(certtool, *given, "--infile", revoked.certificate_file)
    assert ran.code != 0
    assert "revoked" in ran.printed


def test_curl_gets_answer_and_issuer_by_url(
    ttp: PublicTTP, good: Identity, openssl: OpenSSL, program: Program, tmp_path: Path
) -> None:
    curl = program("curl")
    request, answer = tmp_path / "request.der", tmp_path / "answer.der"
    asked = ("-issuer", ttp.issuing, "-cert", good.certificate_file, "-no_nonce")
    openssl("ocsp", *asked, "-reqout", request).ok()
    target = quote(base64.b64encode(request.read_bytes()).decode(), safe="")
    got = run(curl, "-sSf", "-D", "-", "-o", answer, f"{ttp.url}/ocsp/{target}").ok()
    assert "Cache-Control: max-age=" in got
    trust = ("-CAfile", ttp.root, "-verify_other", ttp.issuing)
    assert "Response verify OK" in openssl("ocsp", *asked, "-respin", answer, *trust).ok()

    certificate = certificates_from_pem(good.certificate_file.read_bytes())[0]
    parent = issuer_url_of(certificate)
    fetched = run(curl, "-sSf", parent).out
    assert certificate_from_der(fetched) == certificates_from_pem(ttp.issuing.read_bytes())[0]
    # Nothing that needs a credential, or that would give one away, is on the plain listener.
    for path in ("/.well-known/est/cacerts", "/.well-known/est/simpleenroll", "/healthz"):
        ran = run(curl, "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"{ttp.url}{path}")
        assert ran.ok() == "404"


def crl_url_of(certificate: x509.Certificate) -> str:
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    (url,) = (name.value for point in points for name in point.full_name or ())
    return str(url)


def issuer_url_of(certificate: x509.Certificate) -> str:
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    return str(access[1].access_location.value)
