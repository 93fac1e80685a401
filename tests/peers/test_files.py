"""An identity's files as other programs take them: as they are, all of them."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from asynctls.enrolment import Identity
from asynctls.pki.keys import KeyType
from asynctls.pki.profiles import Profile
from tests.peers.conftest import ALPN, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.conftest import Curl, House, OpenSSL, Program

STORE_PASSWORD = ("-storepass", "changeit")


# What a file holds has nothing to do with the loop that the TTP ran on.
pytestmark = pytest.mark.parametrize("house", ["uvloop"], indirect=True)


@pytest.fixture(params=[KeyType.ECDSA_P256, KeyType.RSA_2048])
def identity(house: House, request: pytest.FixtureRequest) -> Identity:
    """One with a key of either kind."""
    key_type: KeyType = request.param
    folder = house.folder / f"peer-{key_type}"
    if folder.exists():
        return Identity.load(folder)
    return house.join(folder, "peer.fleet.example", key_type=key_type, profile=Profile.PEER)


def test_openssl_takes_them(identity: Identity, openssl: OpenSSL) -> None:
    trust = ("-x509_strict", "-CAfile", identity.trust_file)
    status = ("-crl_check_all", "-CRLfile", identity.crl_file)
    assert "OK" in openssl("verify", *trust, *status, identity.certificate_file).ok()
    assert (
        openssl("x509", "-in", identity.certificate_file, "-noout", "-pubkey").out
        == openssl("pkey", "-in", identity.key_file, "-pubout").out
    )
    # What many programs want instead of PEM.
    bundle = ("-in", identity.certificate_file, "-inkey", identity.key_file, "-passout", "pass:x")
    made = openssl("pkcs12", "-export", *bundle)
    assert made.code == 0, made.printed
    assert (
        "CN = peer.fleet.example"
        in openssl("pkcs12", "-passin", "pass:x", "-nokeys", given=made.out).ok()
    )


def test_curl_takes_them(identity: Identity, curl: Curl) -> None:
    mine = ("--cert", identity.certificate_file, "--key", identity.key_file)
    trust = ("--cacert", identity.trust_file, "--crlfile", identity.crl_file)
    assert curl("/healthz", *mine, *trust).words == "ok\n"


def test_python_takes_them(identity: Identity, house: House) -> None:
    context = ssl.create_default_context(cafile=str(identity.trust_file))
    context.load_cert_chain(identity.certificate_file, identity.key_file)
    context.load_verify_locations(identity.crl_file)
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_CRL_CHECK_CHAIN
    address = (house.ttp_address.host, house.ttp_address.port)
    with (
        socket.create_connection(address, timeout=10) as tcp,
        context.wrap_socket(tcp, server_hostname=house.ttp_address.host) as tls,
    ):
        tls.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        with tls.makefile("rb") as answer:
            assert answer.read().endswith(b"\r\n\r\nok\n")


def test_stunnel_takes_them_and_reaches_the_ttp(
    identity: Identity, house: House, program: Program, tmp_path: Path
) -> None:
    tunnel = stunnel(identity, house, tmp_path, connect=str(house.ttp_address), host="127.0.0.1")
    ran = run(program("stunnel"), tunnel, given=b"GET /healthz HTTP/1.1\r\nHost: ttp\r\n\r\n")
    assert ran.code == 0, ran.printed
    # It says close_notify as soon as its input ends, and still reads the answer.
    assert ran.out.startswith(b"HTTP/1.1 200 OK\r\n")
    assert ran.out.endswith(b"\r\n\r\nok\n")


def test_stunnel_knows_no_session_and_is_told_so(
    identity: Identity, house: House, program: Program, tmp_path: Path
) -> None:
    tunnel = stunnel(identity, house, tmp_path, connect=str(house.server_address), host="server")
    since = house.server.now()
    run(program("stunnel"), tunnel)
    assert "alert no application protocol" in (tmp_path / "stunnel.log").read_text()
    assert house.server.until("refused", since=since)["peer"].startswith(identity.name)


def stunnel(identity: Identity, house: House, folder: Path, *, connect: str, host: str) -> Path:
    """A tunnel's client end on standard input and output, which verifies all it can."""
    kind = "checkIP" if host[0].isdigit() else "checkHost"
    settings = {
        "client": "yes",
        "connect": connect,
        "sslVersion": "TLSv1.2",
        "cert": identity.certificate_file,
        "key": identity.key_file,
        "CAfile": identity.trust_file,
        "CRLfile": identity.crl_file,
        "verifyChain": "yes",
        kind: host,
        "syslog": "no",
        "debug": "warning",
        "output": folder / "stunnel.log",
    }
    path = folder / "stunnel.conf"
    path.write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
    return path


def test_haproxy_takes_them(identity: Identity, program: Program, tmp_path: Path) -> None:
    # It looks for the key beside the certificate, under this name.
    (tmp_path / "cert.pem").symlink_to(identity.certificate_file)
    (tmp_path / "cert.pem.key").symlink_to(identity.key_file)
    tls = (
        f"ssl crt {tmp_path}/cert.pem ca-file {identity.trust_file} crl-file {identity.crl_file} "
        "verify required"
    )
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n"
        f"frontend f\n bind 127.0.0.1:1 {tls} alpn {ALPN}\n default_backend b\n"
        f"backend b\n server s 127.0.0.1:2 {tls}\n"
    )
    checked = run(program("haproxy"), "-c", "-V", "-f", config)
    assert "Configuration file is valid" in checked.ok()
    assert "WARNING" not in checked.printed


def test_certtool_takes_them(identity: Identity, program: Program) -> None:
    certtool = program("certtool")
    run(certtool, "--key-info", "--infile", identity.key_file).ok()
    trust = ("--load-ca-certificate", identity.trust_file)
    checked = ("--verify-profile", "medium", "--verify", "--infile", identity.certificate_file)
    assert "Verified. The certificate is trusted." in run(certtool, *trust, *checked).ok()


def test_keytool_takes_them(
    identity: Identity, house: House, program: Program, tmp_path: Path
) -> None:
    keytool = program("keytool")
    store = ("-keystore", tmp_path / "trust.p12", *STORE_PASSWORD)
    # It takes the first certificate of a file: the root.
    root = ("-importcert", "-noprompt", "-alias", "root", "-file", identity.trust_file)
    run(keytool, *root, *store).ok()
    listed = run(keytool, "-list", *store).ok()
    assert house.token("client", profile=Profile.CLIENT).root_sha256.hex(":").upper() in listed
    printed = run(keytool, "-printcert", "-file", identity.certificate_file).ok()
    assert "Owner: CN=peer.fleet.example" in printed
    assert "weak" not in printed.lower()


def test_a_request_of_keytool_is_enrolled_and_its_answer_imported(
    house: House, openssl: OpenSSL, curl: Curl, program: Program, tmp_path: Path
) -> None:
    """It always asks for a subject key identifier, which is ignored, and logged as such."""
    keytool = program("keytool")
    store = ("-keystore", tmp_path / "keys.p12", *STORE_PASSWORD)
    new = ("-genkeypair", "-alias", "client", "-keyalg", "RSA", "-keysize", "2048")
    run(keytool, *new, "-dname", "CN=client", *store).ok()
    asked = run(keytool, "-certreq", "-alias", "client", *store).out
    request = openssl("req", "-outform", "DER", given=asked).out
    since = house.ttp.now()
    answer = curl.enrol(house.token("client", profile=Profile.CLIENT), request)
    assert answer.status == 200, answer.words
    assert house.ttp.until("issued", since=since)["ignored"] == ["subjectKeyIdentifier"]

    (leaf,) = openssl.certificates(answer.body)
    (tmp_path / "client.pem").write_text(leaf)
    for alias, path in (
        ("root", house.root),
        ("issuing", house.issuing),
        ("client", tmp_path / "client.pem"),
    ):
        run(keytool, "-importcert", "-noprompt", "-alias", alias, "-file", path, *store).ok()
    assert (
        "Certificate chain length: 3"
        in run(keytool, "-list", "-v", "-alias", "client", *store).ok()
    )
    mine = ("--cert-type", "P12", "--cert", f"{tmp_path / 'keys.p12'}:changeit")
    assert curl("/healthz", *mine).words == "ok\n"
