"""GnuTLS, which shares no line with OpenSSL: at a real server, as a judge, as a requester."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.alerts import Alert
from asynctls.pki.profiles import Profile
from tests.peers.conftest import ALPN, run

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.enrolment import Identity
    from tests.peers.conftest import Curl, House, OpenSSL, Program, Ran

TLS_1_2 = "NORMAL:-VERS-ALL:+VERS-TLS1.2"


@dataclass(frozen=True)
class Visits:
    """Visits at the server by `gnutls-cli`."""

    house: House
    program: Path

    def __call__(
        self,
        identity: Identity | None,
        *options: str,
        priority: str = TLS_1_2,
        alpn: tuple[str, ...] = (ALPN,),
        typed: bytes = b"",
    ) -> Ran:
        address = self.house.server_address
        shown: tuple[str | Path, ...] = ()
        if identity is not None:
            shown = (
                "--x509certfile",
                identity.certificate_file,
                "--x509keyfile",
                identity.key_file,
            )
        return run(
            *(self.program, "--port", str(address.port), address.host, "--priority", priority),
            *("--x509cafile", self.house.root, "--verify-hostname", "server"),
            *(f"--alpn={each}" for each in alpn),
            *shown,
            *options,
            given=typed,
        )

    def refused(self, alert: Alert, identity: Identity | None, **how: Any) -> dict[str, Any]:
        since = self.house.server.now()
        ran = self(identity, **how)
        assert f"Received alert [{alert.value}]" in ran.printed
        assert ran.code != 0
        event = self.house.server.until("refused", since=since)
        assert event["alert"] == alert
        return event


@pytest.fixture
def visits(house: House, program: Program) -> Visits:
    return Visits(house, program("gnutls-cli"))


def test_gnutls_is_let_in(visits: Visits, client: Identity) -> None:
    since = visits.house.server.now()
    printed = visits(client).ok()
    assert "- Status: The certificate is trusted." in printed
    assert f"- Application protocol: {ALPN}" in printed
    assert re.search(
        r"\(TLS1\.2-X\.509\)-\(ECDHE-X25519\)-\(ECDSA-SHA256\)-\(AES-\d+-GCM\)", printed
    )
    assert "- Options: extended master secret, safe renegotiation," in printed
    event = visits.house.server.until("session ended", since=since)
    assert event["reason"] == "the client ended the connection before KEY"


@pytest.mark.parametrize("version", ["TLS1.0", "TLS1.1", "TLS1.3"])
def test_gnutls_with_another_version_is_refused(
    visits: Visits, client: Identity, version: str
) -> None:
    priority = f"NORMAL:-VERS-ALL:+VERS-{version}"
    event = visits.refused(Alert.PROTOCOL_VERSION, client, priority=priority)
    assert version.replace("TLS", "TLS ") in event["reason"]


def test_gnutls_with_other_suites_is_refused(visits: Visits, client: Identity) -> None:
    for priority in (f"{TLS_1_2}:-AES-128-GCM:-AES-256-GCM", f"{TLS_1_2}:-KX-ALL:+DHE-RSA:+RSA"):
        visits.refused(Alert.HANDSHAKE_FAILURE, client, priority=priority)


def test_gnutls_without_a_certificate_is_refused(visits: Visits) -> None:
    visits.refused(Alert.HANDSHAKE_FAILURE, None)


@pytest.mark.parametrize("alpn", [(), ("h2", "http/1.1")])
def test_gnutls_with_another_application_protocol_is_refused(
    visits: Visits, client: Identity, alpn: tuple[str, ...]
) -> None:
    visits.refused(Alert.NO_APPLICATION_PROTOCOL, client, alpn=alpn)


def test_gnutls_with_a_name_that_is_not_allowed_is_refused(visits: Visits, tmp_path: Path) -> None:
    outsider = visits.house.join(tmp_path / "role", "outsider.org", profile=Profile.CLIENT)
    event = visits.refused(Alert.ACCESS_DENIED, outsider)
    assert event["peer"].startswith("outsider.org (serial ")


def test_gnutls_without_the_extended_master_secret_gets_no_session(
    visits: Visits, client: Identity
) -> None:
    since = visits.house.server.now()
    printed = visits(client, priority=f"{TLS_1_2}:%NO_SESSION_HASH").printed
    assert "extended master secret" not in printed
    event = visits.house.server.until("session ended", since=since)
    assert "no session without the extended master secret" in event["reason"]


def test_gnutls_may_not_renegotiate(visits: Visits, client: Identity) -> None:
    printed = visits(client, "--rehandshake").printed
    assert f"Received alert [{Alert.NO_RENEGOTIATION.value}]" in printed
    assert "ReHandshake has failed" in printed


@pytest.mark.parametrize("tickets", [(), ("--noticket",)])
def test_gnutls_resumes(visits: Visits, client: Identity, tickets: tuple[str, ...]) -> None:
    printed = visits(client, "--resume", *tickets, typed=b"^resume^\n").printed
    assert "This is a resumed session" in printed


# certtool


def test_certtool_accepts_chain_and_crls(
    house: House, client: Identity, program: Program, tmp_path: Path
) -> None:
    certtool = program("certtool")
    whole = tmp_path / "chain.pem"
    whole.write_bytes(client.certificate_file.read_bytes() + house.root.read_bytes())
    profile = ("--verify-profile", "medium")
    verified = "Chain verification output: Verified. The certificate is trusted."
    assert verified in run(certtool, *profile, "--verify-chain", "--infile", whole).ok()
    trusting = ("--load-ca-certificate", client.trust_file, "--verify-hostname", "client")
    purpose = ("--verify-purpose", "1.3.6.1.5.5.7.3.2")
    checked = ("--verify", "--infile", client.certificate_file)
    assert verified in run(certtool, *profile, *trusting, *purpose, *checked).ok()
    # certtool looks at the first CRL and the first CA of a file: the issuing CA's, and the root.
    by_issuing = ("--load-ca-certificate", house.issuing, "--infile", client.crl_file)
    assert (
        "Verification output: Verified."
        in run(certtool, *profile, "--verify-crl", *by_issuing).ok()
    )


def test_a_request_of_certtool_is_enrolled(
    house: House, openssl: OpenSSL, curl: Curl, program: Program, tmp_path: Path
) -> None:
    certtool = program("certtool")
    key, request, template = (tmp_path / name for name in ("key", "csr", "template"))
    template.write_text('cn = "client"\ndns_name = "client"\ntls_www_client\nsigning_key\n')
    new = ("--generate-privkey", "--key-type", "ecdsa", "--curve", "secp256r1", "--outfile", key)
    run(certtool, *new).ok()
    by_template = ("--load-privkey", key, "--template", template, "--outder", "--outfile", request)
    run(certtool, "--generate-request", *by_template).ok()
    answer = curl.enrol(house.token("client", profile=Profile.CLIENT), request.read_bytes())
    assert answer.status == 200, answer.words
    (pem,) = openssl.certificates(answer.body)
    whole = pem + house.issuing.read_text() + house.root.read_text()
    run(certtool, "--verify-profile", "medium", "--verify-chain", given=whole.encode()).ok()
