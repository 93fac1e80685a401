"""EST as any client sees it: paths, media types, statuses, and one line of reason for each no."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from asynctls.config import Address, TTPConfig
from asynctls.enrolment import est_certificates, est_codec
from asynctls.enrolment.csr_attributes import csr_attributes
from asynctls.http import Request, Response
from asynctls.mac import Secret
from asynctls.pki.certificates import to_der
from asynctls.pki.keys import KeyType, PrivateKey, generate_now
from asynctls.pki.profiles import Profile, key_id_text
from asynctls.pki.requests import build_request
from asynctls.pki.status import read_crl
from asynctls.ttp.authority import Authority
from asynctls.ttp.est import EST, Asker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.one_loop

STRANGER = Asker("192.0.2.1:4711", None)


@pytest.fixture
async def authority(tmp_path: Path) -> AsyncIterator[Authority]:
    config = TTPConfig(
        state=tmp_path / "ttp",
        listen=Address("127.0.0.1", 8440),
        root_key_type="ecdsa-p256",
        issuing_key_type="ecdsa-p256",
    )
    async with await Authority.open(config) as opened:
        yield opened


@pytest.fixture
def est(authority: Authority) -> EST:
    return EST(authority)


@pytest.fixture
def key() -> PrivateKey:
    return generate_now(KeyType.ECDSA_P256)


async def token(authority: Authority, **grant: Any) -> tuple[str, Secret]:
    grant = {"ttl": timedelta(minutes=10), "lifetime": timedelta(hours=1)} | grant
    return await authority.create_token("role", profile=Profile.PEER, **grant)


def enrolment(
    token_id: str, secret: Secret, body: bytes, *, content_type: str = "application/pkcs10"
) -> Request:
    credential = base64.b64encode(f"{token_id}:{secret.reveal().decode()}".encode()).decode()
    headers = (("Authorization", f"Basic {credential}"), ("Content-Type", content_type))
    return Request("POST", est_codec.SIMPLE_ENROLL, headers, body)


def body_of(key: PrivateKey) -> bytes:
    return est_codec.encode(build_request(key))


def one_certificate(response: Response) -> x509.Certificate:
    assert response.status == 200
    assert response.header("Content-Type") == "application/pkcs7-mime; smime-type=certs-only"
    assert response.header("Content-Transfer-Encoding") == "base64"
    assert b"\n" not in response.body
    (certificate,) = est_certificates.decode_certificates(response.body)
    return certificate


async def test_cacerts_are_the_issuing_ca_and_the_root_without_line_breaks(
    est: EST, authority: Authority
) -> None:
    response = await est.answer(Request("GET", est_codec.CACERTS), STRANGER)
    assert response.status == 200
    assert response.header("Content-Type") == "application/pkcs7-mime; smime-type=certs-only"
    assert b"\n" not in response.body
    assert set(est_certificates.decode_certificates(response.body)) == set(
        authority.ca_certificates
    )


async def test_no_csr_attributes_are_asked_for(est: EST) -> None:
    response = await est.answer(Request("GET", est_codec.CSRATTRS), STRANGER)
    assert (response.status, response.body) == (204, b"")


async def test_what_the_policy_wants_of_a_request_is_in_the_csr_attributes(tmp_path: Path) -> None:
    config = TTPConfig(
        state=tmp_path / "strict",
        root_key_type="ecdsa-p256",
        issuing_key_type="ecdsa-p256",
        allow_key_types=("rsa-3072",),
        require_linking=True,
    )
    async with await Authority.open(config) as strict:
        response = await EST(strict).answer(Request("GET", est_codec.CSRATTRS), STRANGER)
    assert response.status == 200
    assert response.header("Content-Type") == "application/csrattrs"
    assert base64.b64decode(response.body) == csr_attributes(
        key_types=[KeyType.RSA_3072], link=True
    )


async def test_a_token_and_a_request_make_a_certificate(
    est: EST, authority: Authority, key: PrivateKey
) -> None:
    token_id, secret = await token(authority)
    response = await est.answer(enrolment(token_id, secret, body_of(key)), STRANGER)
    assert one_certificate(response).public_key() == key.public_key()


async def test_a_body_with_line_breaks_is_read_as_well(
    est: EST, authority: Authority, key: PrivateKey
) -> None:
    token_id, secret = await token(authority)
    folded = base64.encodebytes(build_request(key)).replace(b"\n", b"\r\n")
    request = enrolment(
        token_id, secret, folded, content_type="Application/PKCS10; charset=us-ascii"
    )
    assert one_certificate(await est.answer(request, STRANGER)).public_key() == key.public_key()


async def test_a_retry_gets_the_same_certificate(
    est: EST, authority: Authority, key: PrivateKey
) -> None:
    token_id, secret = await token(authority)
    first = await est.answer(enrolment(token_id, secret, body_of(key)), STRANGER)
    again = await est.answer(enrolment(token_id, secret, body_of(key)), STRANGER)
    assert one_certificate(first) == one_certificate(again)


@pytest.mark.parametrize(
    "header",
    [
        (),
        (("Authorization", "Bearer abc"),),
        (("Authorization", "Basic %%%"),),
        (("Authorization", "Basic bm9jb2xvbg=="),),
        (("Authorization", "Basic /////w=="),),
    ],
)
async def test_without_a_credential_the_answer_is_a_challenge(
    est: EST, header: tuple[tuple[str, str], ...], key: PrivateKey
) -> None:
    request = Request("POST", est_codec.SIMPLE_ENROLL, header, body_of(key))
    with structlog.testing.capture_logs() as events:
        response = await est.answer(request, STRANGER)
    assert response.status == 401
    assert response.header("WWW-Authenticate") == 'Basic realm="asynctls", charset="UTF-8"'
    assert response.body.startswith(b"no-credential: ")
    assert [event["event"] for event in events] == ["enrolment refused"]
    assert events[0]["address"] == STRANGER.address


async def test_a_wrong_secret_is_a_401_and_one_event(
    est: EST, authority: Authority, key: PrivateKey
) -> None:
    token_id, _ = await token(authority)
    with structlog.testing.capture_logs() as events:
        response = await est.answer(enrolment(token_id, Secret(b"no"), body_of(key)), STRANGER)
    assert response.status == 401
    assert response.header("WWW-Authenticate") is not None
    assert response.body.startswith(b"token-unknown: ")
    refusals = [event for event in events if event["event"] == "enrolment refused"]
    assert [event["rule"] for event in refusals] == ["token-unknown"]


async def test_too_many_wrong_secrets_must_wait(
    est: EST, authority: Authority, key: PrivateKey
) -> None:
    statuses = [
        (await est.answer(enrolment("id", Secret(b"no"), body_of(key)), STRANGER)).status
        for _ in range(12)
    ]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    last = await est.answer(enrolment("id", Secret(b"no"), body_of(key)), STRANGER)
    seconds = last.header("Retry-After")
    assert seconds is not None
    assert 50 <= int(seconds) <= 60
    assert f"wait {seconds} s" in last.body.decode()


async def test_what_waits_for_approval_is_a_202_that_says_when_to_ask_again(
    est: EST, authority: Authority, key: PrivateKey
) -> None:
    token_id, secret = await token(authority, approve=True)
    request = enrolment(token_id, secret, body_of(key))
    for _ in range(2):
        waits = await est.answer(request, STRANGER)
        assert (waits.status, waits.body[:18]) == (202, b"approval-pending: ")
        assert waits.header("Content-Type") == "text/plain; charset=utf-8"
        seconds = waits.header("Retry-After")
        assert seconds is not None
        assert int(seconds) > 0
    (waiting,) = await authority.pending()
    await authority.approve(waiting.number)
    assert one_certificate(await est.answer(request, STRANGER)).public_key() == key.public_key()


async def test_a_request_made_for_another_connection_is_refused(
    est: EST, authority: Authority, key: PrivateKey
) -> None:
    token_id, secret = await token(authority)
    here = Asker(STRANGER.address, None, b"u" * 12)
    linked = build_request(key, challenge_password=est_codec.linked_to(b"u" * 12))
    request = enrolment(token_id, secret, est_codec.encode(linked))
    for asker in (STRANGER, Asker(STRANGER.address, None, b"v" * 12)):
        refused = await est.answer(request, asker)
        assert (refused.status, refused.body[:18]) == (403, b"linked-elsewhere: ")
    one_certificate(await est.answer(request, here))


async def test_another_type_and_nonsense_are_told_apart(est: EST, authority: Authority) -> None:
    token_id, secret = await token(authority)
    wrong = await est.answer(enrolment(token_id, secret, b"", content_type="text/plain"), STRANGER)
    assert (wrong.status, wrong.body[:11]) == (415, b"wrong-type:")
    for body in (b"***", b"", base64.b64encode(b"nonsense")):
        bad = await est.answer(enrolment(token_id, secret, body), STRANGER)
        assert bad.status == 400
        assert bad.body.startswith(b"malformed-request: ")
        assert bad.header("Content-Type") == "text/plain; charset=utf-8"


async def test_renewal_is_by_the_current_certificate(
    est: EST, authority: Authority, key: PrivateKey
) -> None:
    token_id, secret = await token(authority)
    current = one_certificate(await est.answer(enrolment(token_id, secret, body_of(key)), STRANGER))
    new_key = generate_now(KeyType.ECDSA_P256)
    request = Request(
        "POST",
        est_codec.SIMPLE_REENROLL,
        (("Content-Type", "application/pkcs10"),),
        body_of(new_key),
    )
    refused = await est.answer(request, STRANGER)
    assert (refused.status, refused.body[:15]) == (403, b"no-certificate:")
    renewed = one_certificate(await est.answer(request, Asker(STRANGER.address, to_der(current))))
    assert renewed.public_key() == new_key.public_key()
    assert renewed.serial_number != current.serial_number
    await authority.revoke("role")
    late = await est.answer(request, Asker(STRANGER.address, to_der(renewed)))
    assert (late.status, late.body[:20]) == (403, b"certificate-revoked:")


async def test_both_crls_are_served_as_der(est: EST, authority: Authority) -> None:
    issuing, root = authority.ca_certificates
    for path, issuer in ((est_codec.CRL, issuing), (est_codec.ROOT_CRL, root)):
        response = await est.answer(Request("GET", path), STRANGER)
        assert response.header("Content-Type") == "application/pkix-crl"
        assert read_crl(response.body, issuer).serials == frozenset()


async def test_crls_and_cas_are_not_sent_to_who_has_them(est: EST, authority: Authority) -> None:
    for path in (est_codec.CRL, est_codec.ROOT_CRL, est_codec.CACERTS):
        first = await est.answer(Request("GET", path), STRANGER)
        tag = first.header("ETag")
        assert tag is not None
        for held, status in (
            (tag, 304),
            (f"W/{tag}", 304),
            (f'"another", {tag}', 304),
            ("*", 304),
            ('"another"', 200),
            (tag.strip('"'), 200),
        ):
            request = Request("GET", path, (("If-None-Match", held),))
            again = await est.answer(request, STRANGER)
            assert (again.status, again.header("ETag")) == (status, tag)
            assert again.body == (b"" if status == 304 else first.body)


async def test_a_crl_that_revokes_another_has_another_tag(
    est: EST, authority: Authority, key: PrivateKey
) -> None:
    before = await est.answer(Request("GET", est_codec.CRL), STRANGER)
    token_id, secret = await token(authority)
    await est.answer(enrolment(token_id, secret, body_of(key)), STRANGER)
    await authority.revoke("role")
    held = (("If-None-Match", before.header("ETag") or ""),)
    after = await est.answer(Request("GET", est_codec.CRL, held), STRANGER)
    assert after.status == 200
    assert after.header("ETag") != before.header("ETag")


async def test_a_revocation_is_on_the_crl_at_once(
    est: EST, authority: Authority, key: PrivateKey
) -> None:
    token_id, secret = await token(authority)
    issued = one_certificate(await est.answer(enrolment(token_id, secret, body_of(key)), STRANGER))
    await authority.revoke("role")
    response = await est.answer(Request("GET", "/crl?x=y"), STRANGER)
    assert read_crl(response.body, authority.ca_certificates[0]).serials == {issued.serial_number}


async def test_other_paths_and_methods_are_told_apart(est: EST) -> None:
    assert (await est.answer(Request("GET", "/"), STRANGER)).status == 404
    for method, path, allowed in (
        ("POST", est_codec.CACERTS, "GET, HEAD"),
        ("GET", est_codec.SIMPLE_ENROLL, "POST"),
        ("DELETE", est_codec.CRL, "GET, HEAD"),
    ):
        response = await est.answer(Request(method, path), STRANGER)
        assert (response.status, response.header("Allow")) == (405, allowed)


async def test_health_is_ok(est: EST) -> None:
    assert (await est.answer(Request("GET", "/healthz"), STRANGER)).body == b"ok\n"


def test_the_encoding_is_of_der(key: PrivateKey) -> None:
    request = build_request(key)
    assert est_codec.decode_request(est_codec.encode(request)) == request
    assert x509.load_der_x509_csr(request).public_bytes(Encoding.DER) == request


async def test_the_crl_of_each_issuing_ca_has_a_path_of_its_own(
    est: EST, authority: Authority
) -> None:
    issuing, root = authority.ca_certificates
    of_it = await est.answer(Request("GET", est_codec.crl_path(key_id_text(issuing))), STRANGER)
    assert of_it.body == (await est.answer(Request("GET", est_codec.CRL), STRANGER)).body
    for other in (key_id_text(root), "", "zz"):
        response = await est.answer(Request("GET", est_codec.crl_path(other)), STRANGER)
        assert response.status == 404
