"""curl and openssl enrol, renew and look at the TTP, with the command lines that are published."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynctls.pki.profiles import Profile
from tests.peers.conftest import password_of, run, wait_past

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.enrolment import Identity
    from tests.peers.conftest import Answer, Curl, House, OpenSSL, Program

EST = "/.well-known/est"
ENROL = f"{EST}/simpleenroll"
RENEW = f"{EST}/simplereenroll"

# As in commands.md, letter by letter.
PUBLISHED = """\
curl --cacert root.pem -u TOKEN-ID:SECRET -H 'Content-Type: application/pkcs10' \
-H 'Content-Transfer-Encoding: base64' \
     --data-binary @server.csr.b64 https://127.0.0.1:8440/.well-known/est/simpleenroll | \
openssl base64 -d -A | openssl pkcs7 -inform DER -print_certs
"""


def kept(folder: Path, answer: Answer, openssl: OpenSSL) -> Path:
    """The one certificate of an answer, as a file."""
    assert answer.status == 200, answer.words
    assert "content-type: application/pkcs7-mime" in answer.head.lower()
    (pem,) = openssl.certificates(answer.body)
    path = folder / f"issued-{len(list(folder.iterdir()))}.pem"
    path.write_text(pem)
    return path


@pytest.mark.parametrize("algorithm", ["RSA-2048", "P-256", "P-384"])
def test_the_published_command_line_enrols(
    house: House, openssl: OpenSSL, program: Program, tmp_path: Path, algorithm: str
) -> None:
    program("curl")
    token = house.token("server", profile=Profile.SERVER)
    (tmp_path / "root.pem").write_bytes(house.root.read_bytes())
    request = openssl.request(tmp_path / "server.key", algorithm=algorithm)
    folded = openssl("base64", given=request).out
    assert folded.count(b"\n") > 1
    (tmp_path / "server.csr.b64").write_bytes(folded)
    command = PUBLISHED.replace("TOKEN-ID:SECRET", password_of(token)).replace(
        "127.0.0.1:8440", str(house.ttp_address)
    )
    ran = run("bash", "-e", "-o", "pipefail", "-c", command, folder=tmp_path)
    assert ran.code == 0, ran.printed
    certificate = tmp_path / "server.pem"
    certificate.write_bytes(ran.out)
    assert (
        openssl("x509", "-in", certificate, "-noout", "-pubkey").out
        == openssl("pkey", "-in", tmp_path / "server.key", "-pubout").out
    )


def test_openssl_accepts_the_chain_strictly_and_with_all_crls(
    house: House, openssl: OpenSSL, curl: Curl, tmp_path: Path
) -> None:
    token = house.token("web.fleet.example", profile=Profile.SERVER)
    leaf = kept(tmp_path, curl.enrol(token, openssl.request(tmp_path / "key")), openssl)
    handed = openssl.certificates(curl(f"{EST}/cacerts").body)
    assert house.root.read_text() in handed
    (issuing,) = [pem for pem in handed if pem != house.root.read_text()]
    (tmp_path / "issuing.pem").write_text(issuing)

    def crls() -> Path:
        path = tmp_path / "crls.pem"
        lists = [
            openssl("crl", "-inform", "DER", given=curl(f"/crl{of}").body) for of in ("", "/root")
        ]
        path.write_bytes(b"".join(each.out for each in lists))
        return path

    verify = (
        "verify",
        "-x509_strict",
        "-CAfile",
        house.root,
        "-untrusted",
        tmp_path / "issuing.pem",
    )
    asked = ("-purpose", "sslserver", "-verify_hostname", "web.fleet.example")
    assert "OK" in openssl(*verify, leaf).ok()
    assert "OK" in openssl(*verify, *asked, "-crl_check_all", "-CRLfile", crls(), leaf).ok()
    house.revoke("web.fleet.example")
    refused = openssl(*verify, *asked, "-crl_check_all", "-CRLfile", crls(), leaf)
    assert "certificate revoked" in refused.printed


def test_the_root_is_the_one_that_the_token_pins(house: House, openssl: OpenSSL) -> None:
    printed = openssl("x509", "-in", house.root, "-noout", "-fingerprint", "-sha256").ok()
    fingerprint = printed.strip().rpartition("=")[2].replace(":", "").lower()
    assert fingerprint == house.token("client", profile=Profile.CLIENT).root_sha256.hex()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{EST}/cacerts", 200),
        (f"{EST}/csrattrs", 204),
        ("/crl", 200),
        ("/crl/root", 200),
        ("/healthz", 200),
    ],
)
@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2"])
def test_what_needs_no_credential_needs_none(
    curl: Curl, path: str, status: int, version: str
) -> None:
    answer = curl(path, version)
    assert answer.status == status
    assert answer.head.startswith("HTTP/1.1 ")


def test_one_connection_serves_many_requests(house: House, curl: Curl) -> None:
    urls = [house.url(path) for path in ("/healthz", f"{EST}/cacerts", "/crl/root")]
    ran = curl.run("/healthz", "-v", *urls, "-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null")
    assert ran.printed.count("Re-using existing connection") == 3
    head = curl("/crl", "--head")
    assert head.status == 200
    assert head.body == b""


@pytest.mark.parametrize("path", ["/crl", "/crl/root"])
def test_curl_fetches_a_crl_once(curl: Curl, tmp_path: Path, path: str) -> None:
    tag = tmp_path / "tag"
    assert curl(path, "--etag-save", tag).status == 200
    again = curl(path, "--etag-compare", tag)
    assert (again.status, again.body) == (304, b"")


def test_only_tls_1_2_is_spoken(house: House, curl: Curl) -> None:
    for options in (("--tlsv1.3",), ("--tls-max", "1.1", "--ciphers", "DEFAULT:@SECLEVEL=0")):
        since = house.ttp.now()
        ran = curl.run("/healthz", *options)
        assert ran.code != 0
        assert "protocol version" in ran.printed
        assert house.ttp.until("refused", since=since)["alert"] == 70


# Tokens


def test_a_token_gives_one_key_one_certificate(
    house: House, openssl: OpenSSL, curl: Curl, tmp_path: Path
) -> None:
    token = house.token("client", profile=Profile.CLIENT)
    request = openssl.request(tmp_path / "key")
    first, again = (kept(tmp_path, curl.enrol(token, request), openssl) for _ in range(2))
    assert first.read_text() == again.read_text()

    since = house.ttp.now()
    refused = curl.enrol(token, openssl.request(tmp_path / "another"))
    assert refused.status == 403
    assert refused.words.startswith("token-used: ")
    assert "another key" in refused.words
    event = house.ttp.until("enrolment refused", since=since)
    assert (event["rule"], event["name"]) == ("token-used", "client")
    assert event["address"].startswith("127.0.0.1:")


@pytest.mark.parametrize("options", [("-u", "nobody:wrong"), (), ("-H", "Authorization: Bearer x")])
def test_whoever_shows_no_token_that_counts_is_asked_for_one(
    openssl: OpenSSL, curl: Curl, tmp_path: Path, options: tuple[str, ...]
) -> None:
    answer = curl.post(ENROL, openssl.request(tmp_path / "key"), *options)
    assert answer.status == 401
    assert re.search(r"(?im)^www-authenticate: Basic realm=", answer.head)
    assert re.match(r"(token-unknown|no-credential): ", answer.words)


# Requests


@pytest.mark.parametrize(
    ("status", "rule", "options"),
    [
        (403, "beyond-grant", ("-subj", "/CN=admin")),
        (403, "beyond-grant", ("-addext", "subjectAltName=DNS:client,DNS:admin")),
        (403, "beyond-grant", ("-addext", "subjectAltName=IP:127.0.0.1")),
        (403, "beyond-grant", ("-addext", "extendedKeyUsage=serverAuth")),
        (403, "beyond-grant", ("-addext", "extendedKeyUsage=1.3.6.1.5.5.7.3.28")),
        (403, "beyond-grant", ("-addext", "keyUsage=keyAgreement")),
        (400, "malformed-request", ("-addext", "basicConstraints=critical,CA:TRUE")),
        (400, "malformed-request", ("-addext", "keyUsage=digitalSignature,keyCertSign")),
        (400, "malformed-request", ("-subj", "/CN=client/CN=client")),
    ],
)
def test_a_request_that_asks_for_more_is_refused_by_name_of_the_rule(
    house: House,
    openssl: OpenSSL,
    curl: Curl,
    tmp_path: Path,
    status: int,
    rule: str,
    options: tuple[str, ...],
) -> None:
    token = house.token("client", profile=Profile.CLIENT)
    since = house.ttp.now()
    answer = curl.enrol(token, openssl.request(tmp_path / "key", *options))
    assert answer.status == status
    assert answer.words.startswith(f"{rule}: ")
    assert house.ttp.until("enrolment refused", since=since)["rule"] == rule
    # The token is as good as before.
    kept(tmp_path, curl.enrol(token, openssl.request(tmp_path / "another")), openssl)


@pytest.mark.parametrize("algorithm", ["RSA-1024", "secp256k1", "P-521", "Ed25519"])
def test_other_keys_are_refused(
    house: House, openssl: OpenSSL, curl: Curl, tmp_path: Path, algorithm: str
) -> None:
    token = house.token("client", profile=Profile.CLIENT)
    answer = curl.enrol(token, openssl.request(tmp_path / "key", algorithm=algorithm))
    assert answer.status == 400
    assert answer.words.startswith("weak-key: ")


def test_what_else_a_request_asks_for_is_ignored(
    house: House, openssl: OpenSSL, curl: Curl, tmp_path: Path
) -> None:
    token = house.token("client", profile=Profile.CLIENT)
    request = openssl.request(
        tmp_path / "key",
        *("-subj", "/C=IN/O=Somebody/CN=client", "-addext", "subjectAltName=DNS:client"),
        *("-addext", "extendedKeyUsage=clientAuth", "-addext", "keyUsage=digitalSignature"),
        *("-addext", "certificatePolicies=1.2.3.4", "-addext", "tlsfeature=status_request"),
    )
    text = openssl.text(kept(tmp_path, curl.enrol(token, request), openssl))
    assert "Subject: CN = client\n" in text
    assert "1.2.3.4" not in text
    assert "TLS Feature" not in text


def test_what_waits_for_approval_is_a_202_until_it_is_approved(
    house: House, openssl: OpenSSL, curl: Curl, tmp_path: Path
) -> None:
    token = house.token("client", profile=Profile.CLIENT, approve=True)
    request = openssl.request(tmp_path / "key")
    waits = curl.enrol(token, request)
    assert waits.status == 202
    assert "\r\nRetry-After: 10\r\n" in waits.head
    assert waits.words.startswith("approval-pending: ")
    number = re.search(r"ttp approve (\d+)", waits.words)
    assert number is not None
    house.approve(int(number[1]))
    kept(tmp_path, curl.enrol(token, request), openssl)


def test_a_challenge_password_that_is_no_link_is_refused(
    house: House, openssl: OpenSSL, curl: Curl, tmp_path: Path
) -> None:
    # 'openssl req' asks for one, by its default configuration.
    config = tmp_path / "cnf"
    config.write_text(
        "[req]\nprompt = no\ndistinguished_name = d\nattributes = a\n[d]\nCN = client\n"
        "[a]\nchallengePassword = typed\n"
    )
    made = openssl(
        *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-keyout", tmp_path / "key", "-config", config, "-outform", "DER"),
    )
    request = made.out
    answer = curl.enrol(house.token("client", profile=Profile.CLIENT), request)
    assert answer.status == 403
    assert answer.words.startswith("linked-elsewhere: ")


def test_a_request_whose_signature_does_not_hold_is_refused(
    house: House, openssl: OpenSSL, curl: Curl, tmp_path: Path
) -> None:
    token = house.token("client", profile=Profile.CLIENT)
    request = openssl.request(tmp_path / "key", algorithm="RSA-2048")
    answer = curl.enrol(token, request[:-1] + bytes([request[-1] ^ 1]))
    assert answer.status == 400
    assert "not signed by the key" in answer.words


@pytest.mark.parametrize("posted", [b"", b"AAAA", b"not base64!", b"-----BEGIN X-----\n"])
def test_what_is_no_request_is_refused(house: House, curl: Curl, posted: bytes) -> None:
    token = house.token("client", profile=Profile.CLIENT)
    answer = curl(
        ENROL,
        *("-u", password_of(token), "-H", "Content-Type: application/pkcs10"),
        *("--data-binary", "@-"),
        given=posted,
    )
    assert answer.status == 400
    assert answer.words.startswith("malformed-request: ")


def test_sizes_are_limited(house: House, curl: Curl) -> None:
    token = house.token("client", profile=Profile.CLIENT)
    assert curl.enrol(token, bytes(17 * 1024)).words.startswith("malformed-request: ")
    assert curl.enrol(token, bytes(128 * 1024)).status == 413
    # From a megabyte on, curl asks first whether it may.
    assert curl.enrol(token, bytes(2 * 1024 * 1024)).status == 413


@pytest.mark.parametrize(
    ("status", "path", "options"),
    [
        (415, ENROL, ("-u", "a:b", "--data-binary", "AAAA")),
        (415, ENROL, ("-u", "a:b", "-H", "Content-Type: text/plain", "--data-binary", "AAAA")),
        (405, ENROL, ()),
        (405, ENROL, ("-X", "PUT", "--data-binary", "AAAA")),
        (405, f"{EST}/cacerts", ("--data-binary", "AAAA")),
        (405, "/crl", ("-X", "DELETE")),
        (501, "/crl", ("-X", "BREW")),
        (404, "/", ()),
        (404, f"{EST}/", ()),
        (404, f"{EST}/label/cacerts", ()),
        (404, f"{EST}/../../etc/passwd", ("--path-as-is",)),
        (404, "/CRL", ()),
    ],
)
def test_every_other_mistake_has_its_status(
    curl: Curl, status: int, path: str, options: tuple[str, ...]
) -> None:
    answer = curl(path, *options)
    assert answer.status == status
    assert ("\r\nAllow: " in answer.head) == (status == 405)
    assert answer.words.endswith("\n")


# Renewal


@pytest.mark.parametrize("profile", [Profile.CLIENT, Profile.SERVER, Profile.PEER])
def test_curl_renews_with_the_current_certificate_and_a_new_key(
    house: House, openssl: OpenSSL, curl: Curl, tmp_path: Path, profile: Profile
) -> None:
    identity = house.join(tmp_path / "role", "renewing.fleet.example", profile=profile)
    mine = ("--cert", identity.certificate_file, "--key", identity.key_file)
    key = tmp_path / "new.key"
    renewed = kept(tmp_path, curl.post(RENEW, openssl.request(key), *mine), openssl)
    assert f"CN = {identity.name}" in openssl.text(renewed)
    # And again, with what it has now, the leaf alone.
    mine = ("--cert", renewed, "--key", key)
    kept(tmp_path, curl.post(RENEW, openssl.request(tmp_path / "newer.key"), *mine), openssl)


def test_a_renewal_gives_nothing_more(
    openssl: OpenSSL, curl: Curl, client: Identity, tmp_path: Path
) -> None:
    mine = ("--cert", client.certificate_file, "--key", client.key_file)
    request = openssl.request(tmp_path / "key", "-addext", "subjectAltName=DNS:admin")
    answer = curl.post(RENEW, request, *mine)
    assert answer.status == 403
    assert answer.words.startswith("beyond-grant: ")


def test_without_a_certificate_nothing_is_renewed(
    house: House, openssl: OpenSSL, curl: Curl, tmp_path: Path
) -> None:
    request = openssl.request(tmp_path / "key")
    assert curl.post(RENEW, request).words.startswith("no-certificate: ")
    # A token is for enrolment only.
    token = house.token("client", profile=Profile.CLIENT)
    answer = curl.post(RENEW, request, "-u", password_of(token))
    assert (answer.status, answer.words.partition(":")[0]) == (403, "no-certificate")


def test_a_revoked_certificate_renews_nothing(
    house: House, openssl: OpenSSL, curl: Curl, tmp_path: Path
) -> None:
    identity = house.join(tmp_path / "role", "revoked-here.fleet.example", profile=Profile.CLIENT)
    house.revoke(identity.name)
    mine = ("--cert", identity.certificate_file, "--key", identity.key_file)
    answer = curl.post(RENEW, openssl.request(tmp_path / "key"), *mine)
    assert answer.status == 403
    assert answer.words.startswith("certificate-revoked: ")
    assert "join again with a new token" in answer.words


def test_an_expired_certificate_renews_nothing_and_its_holder_is_told(
    house: House, curl: Curl, tmp_path: Path
) -> None:
    identity = house.join(
        tmp_path / "role",
        "late.fleet.example",
        profile=Profile.CLIENT,
        lifetime=timedelta(seconds=3),
    )
    wait_past(identity.not_after.timestamp() + 1)
    mine = ("--cert", identity.certificate_file, "--key", identity.key_file)
    since = house.ttp.now()
    # Without -v this curl says that verification failed, as if it were the TTP's certificate.
    ran = curl.run(RENEW, "-v", *mine, "--data-binary", "AAAA")
    assert ran.code != 0
    assert "TLS alert, certificate expired" in ran.printed
    event = house.ttp.until("refused", since=since)
    assert event["alert"] == 45
    assert event["peer"].startswith("late.fleet.example (serial ")
