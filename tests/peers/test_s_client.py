"""`openssl s_client` at a real server: who gets in, and what everybody else is told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.alerts import Alert
from asynctls.pki.certificates import certificates_from_pem, to_pem
from asynctls.pki.keys import KeyType, generate_now, key_from_pem, key_to_pem
from asynctls.pki.profiles import Issuer, Profile, issue
from tests.peers.conftest import ALPN, wait_past

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.enrolment import Identity
    from tests.peers.conftest import House, OpenSSL, Ran

SPOKEN = ("-tls1_2", "-alpn", ALPN)


@dataclass(frozen=True)
class Visits:
    """One certificate's visits at the server by `s_client`."""

    house: House
    openssl: OpenSSL
    certificate: Path
    key: Path

    def __call__(self, *options: str | Path, typed: bytes = b"") -> Ran:
        shown = ("-cert", self.certificate, "-key", self.key)
        # The server's certificate is held to everything that OpenSSL knows to ask.
        verified = ("-CAfile", self.house.root, "-verify_return_error", "-x509_strict")
        named = ("-servername", "server", "-verify_hostname", "server")
        return self.openssl.s_client(
            self.house.server_address, *shown, *verified, *named, *options, typed=typed
        )

    def let_in(self, *options: str | Path, typed: bytes = b"") -> str:
        """A visit that comes through; gives what `s_client` printed."""
        since = self.house.server.now()
        ran = self(*options, typed=typed)
        assert told(ran) is None
        assert "Verify return code: 0 (ok)" in ran.printed
        event = self.house.server.until("session ended", since=since)
        assert event["reason"] == "the client ended the connection before KEY"
        return ran.printed

    def refused(self, alert: Alert, *options: str | Path) -> dict[str, Any]:
        """A visit that is refused, told by that alert; gives the event in the server's log."""
        since = self.house.server.now()
        ran = self(*options)
        assert told(ran) == alert
        assert ran.code != 0
        event = self.house.server.until("refused", since=since)
        assert event["alert"] == alert
        assert re.fullmatch(r"127\.0\.0\.1:\d+", event["address"])
        return event


def told(ran: Ran) -> int | None:
    """The number of the alert that `s_client` was sent."""
    found = re.search(r"SSL alert number (\d+)", ran.printed)
    return int(found[1]) if found else None


@pytest.fixture
def visits(house: House, openssl: OpenSSL, client: Identity) -> Visits:
    return Visits(house, openssl, client.certificate_file, client.key_file)


def joined(house: House, openssl: OpenSSL, folder: Path, name: str, **grant: Any) -> Visits:
    """Visits by a new identity of the TTP."""
    identity = house.join(folder, name, profile=Profile.CLIENT, **grant)
    return Visits(house, openssl, identity.certificate_file, identity.key_file)


def test_a_client_on_the_allow_list_is_let_in(visits: Visits) -> None:
    printed = visits.let_in(*SPOKEN)
    assert f"ALPN protocol: {ALPN}" in printed
    assert "Extended master secret: yes" in printed
    assert "Compression: NONE" in printed
    assert "Expansion: NONE" in printed
    assert re.search(r"Cipher is ECDHE-ECDSA-AES\d+-GCM-SHA\d+", printed)
    assert "Server Temp Key: X25519" in printed
    assert "Secure Renegotiation IS supported" in printed


@pytest.mark.parametrize("key_type", [KeyType.RSA_2048, KeyType.ECDSA_P384])
def test_so_is_one_whose_name_a_pattern_matches_whatever_its_key(
    house: House, openssl: OpenSSL, tmp_path: Path, key_type: KeyType
) -> None:
    member = joined(house, openssl, tmp_path / "role", "a.fleet.example", key_type=key_type)
    member.let_in(*SPOKEN)


def test_a_leaf_without_its_chain_is_enough(visits: Visits, tmp_path: Path) -> None:
    alone = tmp_path / "leaf.pem"
    alone.write_text(visits.openssl("x509", "-in", visits.certificate).ok())
    Visits(visits.house, visits.openssl, alone, visits.key).let_in(*SPOKEN)


# What is refused whoever comes


@pytest.mark.parametrize(
    ("option", "spoken"), [("-tls1", "TLS 1.0"), ("-tls1_1", "TLS 1.1"), ("-tls1_3", "TLS 1.3")]
)
def test_another_version_is_refused(visits: Visits, option: str, spoken: str) -> None:
    weak = ("-cipher", "DEFAULT:@SECLEVEL=0")
    event = visits.refused(Alert.PROTOCOL_VERSION, option, "-alpn", ALPN, *weak)
    assert event["reason"] == f"it offers {spoken}; TLS 1.2 is the one version spoken here"
    assert event["peer"] == "unknown"


def test_a_client_that_could_speak_1_3_is_brought_to_1_2(visits: Visits) -> None:
    assert "New, TLSv1.2" in visits.let_in("-alpn", ALPN)


@pytest.mark.parametrize(
    "suites",
    [
        "AES128-SHA",
        "AES256-GCM-SHA384",
        "DHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES256-CCM",
        # The server's key is no RSA key.
        "ECDHE-RSA-AES128-GCM-SHA256",
        "eNULL:@SECLEVEL=0",
        "aNULL:@SECLEVEL=0",
    ],
)
def test_another_cipher_suite_is_refused(visits: Visits, suites: str) -> None:
    event = visits.refused(Alert.HANDSHAKE_FAILURE, *SPOKEN, "-cipher", suites)
    assert "none of the cipher suites used here" in event["reason"]


def test_weak_signatures_and_curves_are_refused(visits: Visits) -> None:
    weak = ("-cipher", "DEFAULT:@SECLEVEL=0")
    visits.refused(Alert.HANDSHAKE_FAILURE, *SPOKEN, *weak, "-sigalgs", "ECDSA+SHA1")
    visits.refused(Alert.HANDSHAKE_FAILURE, *SPOKEN, *weak, "-curves", "secp160r1")


def test_a_fallback_to_1_2_is_none(visits: Visits) -> None:
    # RFC 7507: only a client that believes to have been pushed down says so. 1.2 is our highest
    # version, so nothing was lost.
    visits.let_in(*SPOKEN, "-fallback_scsv")


@pytest.mark.parametrize("offered", [(), ("-alpn", "h2"), ("-alpn", "asynctls/2,http/1.1")])
def test_another_application_protocol_is_refused(
    visits: Visits, client: Identity, offered: tuple[str, ...]
) -> None:
    event = visits.refused(Alert.NO_APPLICATION_PROTOCOL, "-tls1_2", *offered)
    assert ALPN in event["reason"]
    assert event["peer"] == f"client (serial {client.serial})"


def test_one_of_several_application_protocols_is_chosen(visits: Visits) -> None:
    assert f"ALPN protocol: {ALPN}" in visits.let_in("-tls1_2", "-alpn", f"h2,{ALPN}")


def test_a_renegotiation_is_refused(visits: Visits) -> None:
    printed = visits.let_in(*SPOKEN, typed=b"R\n")
    assert "RENEGOTIATING" in printed
    assert "no renegotiation" in printed
    # As before secure renegotiation (RFC 5746).
    assert "no renegotiation" in visits.let_in(*SPOKEN, "-legacy_renegotiation", typed=b"R\n")


def test_whoever_does_not_know_the_extended_master_secret_gets_no_session(
    visits: Visits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "openssl.cnf"
    settings.write_text(
        "openssl_conf = start\n[start]\nssl_conf = tls\n[tls]\nsystem_default = all\n"
        "[all]\nOptions = -ExtendedMasterSecret\n"
    )
    monkeypatch.setenv("OPENSSL_CONF", str(settings))
    since = visits.house.server.now()
    assert "Extended master secret: no" in visits(*SPOKEN).printed
    event = visits.house.server.until("session ended", since=since)
    assert "no session without the extended master secret" in event["reason"]


# Who is refused


def test_whoever_shows_no_certificate_is_refused(house: House, openssl: OpenSSL) -> None:
    since = house.server.now()
    ran = openssl.s_client(house.server_address, *SPOKEN)
    assert told(ran) == Alert.HANDSHAKE_FAILURE
    event = house.server.until("refused", since=since)
    assert (event["alert"], event["peer"]) == (Alert.HANDSHAKE_FAILURE, "unknown")
    assert event["reason"] == "it showed no certificate, and one is required"


def test_whoever_is_not_on_the_allow_list_is_refused(
    house: House, openssl: OpenSSL, tmp_path: Path
) -> None:
    outsider = joined(house, openssl, tmp_path / "role", "outsider.org")
    event = outsider.refused(Alert.ACCESS_DENIED, *SPOKEN)
    assert event["peer"].startswith("outsider.org (serial ")
    assert event["reason"].startswith("it is not on the allow list; its names: outsider.org;")


def test_a_deeper_name_than_the_pattern_is_refused(
    house: House, openssl: OpenSSL, tmp_path: Path
) -> None:
    deep = joined(house, openssl, tmp_path / "role", "a.b.fleet.example")
    deep.refused(Alert.ACCESS_DENIED, *SPOKEN)


@pytest.mark.parametrize("ca_name", [None, "another CA", "the name of ours"])
def test_a_certificate_that_others_made_is_refused(
    house: House, openssl: OpenSSL, tmp_path: Path, ca_name: str | None
) -> None:
    """Self-signed, of a CA that nobody knows, or of one that took our issuing CA's name."""
    key, shown = tmp_path / "key", tmp_path / "client.pem"
    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    extensions = ("-addext", "subjectAltName=DNS:client", "-addext", "extendedKeyUsage=clientAuth")
    issuer = "CN=client"
    if ca_name is None:
        openssl(
            *new, "-x509", "-keyout", key, "-out", shown, "-subj", "/CN=client", *extensions
        ).ok()
    else:
        if ca_name == "another CA":
            issuer = "CN=another CA"
        else:
            subject = openssl(
                "x509", "-in", house.issuing, "-noout", "-subject", "-nameopt", "RFC2253"
            )
            issuer = subject.ok().strip().removeprefix("subject=")
        ca_key, ca_pem, csr = (tmp_path / name for name in ("ca.key", "ca.pem", "csr"))
        openssl(*new, "-x509", "-keyout", ca_key, "-out", ca_pem, "-subj", f"/{issuer}").ok()
        openssl(*new, "-keyout", key, "-out", csr, "-subj", "/CN=client", *extensions).ok()
        signed_by = ("-CA", ca_pem, "-CAkey", ca_key, "-copy_extensions", "copyall", "-days", "1")
        openssl("x509", "-req", "-in", csr, "-out", shown, *signed_by).ok()
    event = Visits(house, openssl, shown, key).refused(Alert.UNKNOWN_CA, *SPOKEN)
    assert event["peer"].startswith("client (serial ")
    assert event["reason"] == f"its certificate was issued by {issuer}, who is not trusted here"


@pytest.mark.parametrize(
    ("hours", "alert", "reason"),
    [
        (-48, Alert.CERTIFICATE_EXPIRED, "its certificate expired on "),
        (+48, Alert.BAD_CERTIFICATE, "its certificate is not valid before "),
    ],
)
def test_a_certificate_out_of_its_time_is_refused(
    house: House, openssl: OpenSSL, tmp_path: Path, hours: int, alert: Alert, reason: str
) -> None:
    key = generate_now(KeyType.ECDSA_P256)
    ca = house.folder / "ttp" / "issuing.pem"
    (issuing,) = certificates_from_pem(ca.read_bytes())
    certificate = issue(
        Profile.CLIENT,
        issuer=Issuer(issuing, key_from_pem(ca.with_suffix(".key").read_bytes())),
        public_key=key.public_key(),
        sans=("client",),
        lifetime=timedelta(hours=1),
        now=datetime.now(UTC) + timedelta(hours=hours),
    )
    (tmp_path / "cert.pem").write_text(to_pem(certificate))
    (tmp_path / "key.pem").write_bytes(key_to_pem(key))
    event = Visits(house, openssl, tmp_path / "cert.pem", tmp_path / "key.pem").refused(
        alert, *SPOKEN
    )
    assert event["peer"].startswith("client (serial ")
    assert event["reason"].startswith(reason)


def test_a_certificate_that_is_for_no_client_is_refused(house: House, openssl: OpenSSL) -> None:
    """The TTP's own: of the right CA, and only for servers."""
    ttp = Visits(house, openssl, house.folder / "ttp" / "ttp.pem", house.folder / "ttp" / "ttp.key")
    event = ttp.refused(Alert.UNSUPPORTED_CERTIFICATE, *SPOKEN)
    assert "unsuitable certificate purpose" in event["reason"]


# Resumption


@pytest.mark.parametrize("tickets", [(), ("-no_ticket",)])
def test_a_session_is_resumed_with_a_ticket_or_without(
    visits: Visits, tmp_path: Path, tickets: tuple[str, ...]
) -> None:
    session = tmp_path / "session"
    printed = visits.let_in(*SPOKEN, *tickets, "-sess_out", session)
    assert "New, TLSv1.2" in printed
    assert ("TLS session ticket:" in printed) == (not tickets)
    assert "Reused, TLSv1.2" in visits.let_in(*SPOKEN, *tickets, "-sess_in", session)


@pytest.mark.parametrize("tickets", [(), ("-no_ticket",)])
def test_who_resumes_is_judged_again(
    visits: Visits, tmp_path: Path, tickets: tuple[str, ...]
) -> None:
    """A resumed handshake is over before it can be refused: nothing comes, and it is closed."""
    session = tmp_path / "session"
    visits.let_in(*SPOKEN, *tickets, "-sess_out", session)
    since = visits.house.server.now()
    ran = visits("-tls1_2", *tickets, "-sess_in", session)
    assert "Reused, TLSv1.2" in ran.printed
    event = visits.house.server.until("refused", since=since)
    assert event["alert"] is None
    assert ALPN in event["reason"]
    # From now on that session is worth nothing, and a full handshake tells.
    visits.refused(Alert.NO_APPLICATION_PROTOCOL, "-tls1_2", *tickets, "-sess_in", session)
    assert "New, TLSv1.2" in visits.let_in(*SPOKEN, *tickets, "-sess_in", session)


def test_a_session_to_resume_does_not_outlive_the_certificate(
    house: House, openssl: OpenSSL, tmp_path: Path
) -> None:
    lifetime = timedelta(seconds=3)
    short = joined(house, openssl, tmp_path / "role", "short.fleet.example", lifetime=lifetime)
    session, by_id = tmp_path / "session", tmp_path / "by-id"
    short.let_in(*SPOKEN, "-sess_out", session)
    short.let_in(*SPOKEN, "-no_ticket", "-sess_out", by_id)
    ends = openssl("x509", "-in", short.certificate, "-noout", "-enddate").ok().strip()
    not_after = datetime.strptime(ends, "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    wait_past(not_after.timestamp() + 1)
    event = short.refused(Alert.CERTIFICATE_EXPIRED, *SPOKEN, "-sess_in", session)
    assert event["reason"] == f"its certificate expired on {not_after:%Y-%m-%d %H:%M:%S} UTC"
    short.refused(Alert.CERTIFICATE_EXPIRED, *SPOKEN, "-no_ticket", "-sess_in", by_id)
    short.refused(Alert.CERTIFICATE_EXPIRED, *SPOKEN)


def test_a_session_to_resume_does_not_outlive_a_revocation(
    house: House, openssl: OpenSSL, tmp_path: Path
) -> None:
    thief = joined(house, openssl, tmp_path / "role", "stolen.fleet.example")
    session = tmp_path / "session"
    thief.let_in(*SPOKEN, "-sess_out", session)
    house.revoke("stolen.fleet.example")
    since = house.server.now()
    house.server.reload()
    house.server.until("CRL taken", since=since)
    event = thief.refused(Alert.CERTIFICATE_REVOKED, *SPOKEN, "-sess_in", session)
    assert event["reason"].startswith("its certificate is revoked (CRL ")
    thief.refused(Alert.CERTIFICATE_REVOKED, *SPOKEN)
