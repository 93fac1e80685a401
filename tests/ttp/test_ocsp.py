"""The responder in one process: what it says of each certificate, and over HTTP."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.ocsp import OCSPCertStatus, OCSPResponseStatus

from asynctls.config import Address, SecretText, TTPConfig
from asynctls.http import Request, Response
from asynctls.pki.certificates import certificate_from_der, to_der
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.names import format_serial
from asynctls.pki.ocsp import Answer, Unanswered
from asynctls.pki.profiles import Profile, key_id_text
from asynctls.pki.requests import build_request
from asynctls.ttp import clock, own_ocsp
from asynctls.ttp.authority import Authority
from asynctls.ttp.ca import PUBLISHED_FIRST
from asynctls.ttp.ocsp import REUSED_FOR
from asynctls.ttp.public import PublicPages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.postgresql import Database

pytestmark = pytest.mark.one_loop

KEY = generate_now(KeyType.ECDSA_P256)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def config(tmp_path: Path) -> TTPConfig:
    return TTPConfig(
        state=tmp_path / "ttp",
        listen=Address("127.0.0.1", 8440),
        root_key_type="ecdsa-p256",
        issuing_key_type="ecdsa-p256",
        status_url="http://ca.example.org/pki",
    )


@pytest.fixture
async def authority(config: TTPConfig) -> AsyncIterator[Authority]:
    async with await Authority.open(config) as opened:
        yield opened


@pytest.fixture
def pages(authority: Authority) -> PublicPages:
    return PublicPages(authority)


async def enrolled(authority: Authority, name: str = "client") -> x509.Certificate:
    token_id, secret = await authority.create_token(
        name, profile=Profile.CLIENT, ttl=HOUR, lifetime=10 * DAY
    )
    request = build_request(KEY)
    return await authority.enrol(
        token_id, secret.reveal().decode(), request, address="192.0.2.1:4711"
    )


def question(
    certificate: x509.Certificate, issuer: x509.Certificate, *, nonce: bytes | None = None
) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def question_of(serial: int, issuer: x509.Certificate) -> bytes:
    known = ocsp.load_der_ocsp_request(question(issuer, issuer))
    name = hashes.Hash(hashes.SHA1())
    name.update(issuer.subject.public_bytes())
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        name.finalize(), known.issuer_key_hash, serial, hashes.SHA1()
    )
    return builder.build().public_bytes(Encoding.DER)


async def asked(authority: Authority, der: bytes) -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response((await authority.ocsp.answer(der)).der)


async def test_what_was_issued_is_good_and_what_was_revoked_is_revoked(
    authority: Authority,
) -> None:
    issuing = authority.ca_certificates[0]
    certificate = await enrolled(authority)
    der = question(certificate, issuing)
    good = await asked(authority, der)
    assert good.certificate_status is OCSPCertStatus.GOOD
    assert good.serial_number == certificate.serial_number
    assert good.next_update_utc == good.this_update_utc + HOUR
    (responder,) = good.certificates
    responder.verify_directly_issued_by(issuing)

    serial = format_serial(certificate.serial_number)
    await authority.revoke(serial, reason="keyCompromise")
    revoked = await asked(authority, der)
    assert revoked.certificate_status is OCSPCertStatus.REVOKED
    assert revoked.revocation_reason is x509.ReasonFlags.key_compromise
    assert revoked.revocation_time_utc is not None
    assert revoked.revocation_time_utc <= datetime.now(UTC)


async def test_a_revocation_without_a_reason_has_none(authority: Authority) -> None:
    certificate = await enrolled(authority)
    await authority.revoke("client")
    revoked = await asked(authority, question(certificate, authority.ca_certificates[0]))
    assert revoked.certificate_status is OCSPCertStatus.REVOKED
    assert revoked.revocation_reason is None


async def test_the_ttps_own_certificates_are_known_and_others_unknown(
    authority: Authority,
) -> None:
    issuing, root = authority.ca_certificates
    shown = authority.tls_certificate
    assert shown is not None
    for serial, status in (
        (shown.serial_number, OCSPCertStatus.GOOD),
        (issuing.serial_number, OCSPCertStatus.UNKNOWN),
        (root.serial_number, OCSPCertStatus.UNKNOWN),
        (4711, OCSPCertStatus.UNKNOWN),
        (0, OCSPCertStatus.UNKNOWN),
        ((1 << 159) - 1, OCSPCertStatus.UNKNOWN),
    ):
        answer = await asked(authority, question_of(serial, issuing))
        assert answer.certificate_status is status


async def test_another_issuers_certificates_are_nothing_that_it_speaks_for(
    authority: Authority,
) -> None:
    issuing, root = authority.ca_certificates
    answer = await authority.ocsp.answer(question(issuing, root))
    assert answer is Unanswered.UNAUTHORIZED


async def test_what_is_no_request_is_malformed(authority: Authority) -> None:
    for junk in (b"", b"junk", b"\x30\x00", b"x" * 5000):
        assert await authority.ocsp.answer(junk) is Unanswered.MALFORMED_REQUEST


async def test_an_answer_is_handed_out_again_until_something_is_revoked(
    authority: Authority,
) -> None:
    issuing = authority.ca_certificates[0]
    mine, other = await enrolled(authority, "mine"), await enrolled(authority, "other")
    der = question(mine, issuing)
    first = await authority.ocsp.answer(der)
    assert await authority.ocsp.answer(der) is first
    # A nonce is for one, and gets an answer of its own.
    for_one = await authority.ocsp.answer(question(mine, issuing, nonce=b"n" * 16))
    assert isinstance(for_one, Answer)
    assert for_one.is_for_one
    assert await authority.ocsp.answer(der) is first
    await authority.revoke(format_serial(other.serial_number))
    assert await authority.ocsp.answer(der) is not first


async def test_what_another_process_revoked_shows_within_a_round_of_upkeep(
    config: TTPConfig, authority: Authority
) -> None:
    issuing = authority.ca_certificates[0]
    der = question(await enrolled(authority), issuing)
    assert (await asked(authority, der)).certificate_status is OCSPCertStatus.GOOD
    async with await Authority.beside(config) as admin:
        await admin.revoke("client")
    await authority.look_after()
    assert (await asked(authority, der)).certificate_status is OCSPCertStatus.REVOKED


async def test_unknown_is_never_kept(authority: Authority) -> None:
    issuing = authority.ca_certificates[0]
    der = question_of(4711, issuing)
    first = await authority.ocsp.answer(der)
    assert await authority.ocsp.answer(der) is not first


async def test_beyond_a_limit_it_says_try_later(authority: Authority) -> None:
    issuing = authority.ca_certificates[0]
    der = question(await enrolled(authority), issuing, nonce=b"n" * 32)
    answers = await asyncio.gather(*(authority.ocsp.answer(der) for _ in range(80)))
    later = [answer for answer in answers if answer is Unanswered.TRY_LATER]
    assert len(later) == 80 - 32
    assert isinstance(await authority.ocsp.answer(der), Answer)


async def test_without_its_ledger_it_says_try_later(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuing = authority.ca_certificates[0]
    der = question(await enrolled(authority), issuing)
    await asyncio.to_thread((authority.folder / "ledger.db").rename, authority.folder / "gone")
    await asyncio.to_thread((authority.folder / "ledger.db").mkdir)
    answer = await authority.ocsp.answer(der)
    assert answer is Unanswered.TRY_LATER


async def test_the_responder_is_found_again_and_renewed_when_due(
    config: TTPConfig, authority: Authority
) -> None:
    issuing = authority.ca_certificates[0]
    der = question_of(1, issuing)
    (first,) = (await asked(authority, der)).certificates
    async with await Authority.open(config) as again:
        assert (await asked(again, der)).certificates == [first]
    later = datetime.now(UTC) + own_ocsp.LIFETIME * 3 / 4
    await authority.ocsp.look_after(authority._care.cas, now=later)
    (second,) = (await asked(authority, der)).certificates
    assert second.serial_number != first.serial_number
    assert second.public_key() != first.public_key()
    key_file = authority.folder / f"ocsp-{key_id_text(issuing)}.key"
    assert (await asyncio.to_thread(key_file.stat)).st_mode & 0o777 == 0o600
    await authority.verify()


async def test_a_responders_key_that_is_gone_is_made_anew(config: TTPConfig) -> None:
    async with await Authority.open(config) as authority:
        issuing = authority.ca_certificates[0]
        (first,) = (await asked(authority, question_of(1, issuing))).certificates
    await asyncio.to_thread((config.state / f"ocsp-{key_id_text(issuing)}.key").unlink)
    async with await Authority.open(config) as authority:
        (second,) = (await asked(authority, question_of(1, issuing))).certificates
    assert second != first


async def test_each_issuing_ca_answers_for_what_it_issued(
    config: TTPConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = msgspec.structs.replace(config, issuing_lifetime=90 * DAY)
    start = datetime.now(UTC).replace(microsecond=0)

    def it_is(after: timedelta) -> None:
        monkeypatch.setattr(clock, "now", lambda: start + after)

    async with await Authority.open(config) as authority:
        it_is(60 * DAY + HOUR)
        old = await enrolled(authority, "old")
        await authority.look_after()
        it_is(60 * DAY + HOUR + PUBLISHED_FIRST)
        await authority.look_after()
        new = await enrolled(authority, "new")
        second, first, _ = authority.ca_certificates
        assert (old.issuer, new.issuer) == (first.subject, second.subject)
        await authority.revoke("old")
        for certificate, issuer, status in (
            (old, first, OCSPCertStatus.REVOKED),
            (new, second, OCSPCertStatus.GOOD),
        ):
            answer = await asked(authority, question(certificate, issuer))
            assert answer.certificate_status is status
            (responder,) = answer.certificates
            responder.verify_directly_issued_by(issuer)
            other = second if issuer is first else first
            answer = await asked(authority, question_of(certificate.serial_number, other))
            assert answer.certificate_status is OCSPCertStatus.UNKNOWN

        it_is(91 * DAY)
        await authority.look_after()
        assert await authority.ocsp.answer(question(old, first)) is Unanswered.UNAUTHORIZED
        answer = await asked(authority, question(new, second))
        assert answer.certificate_status is OCSPCertStatus.GOOD


async def test_a_ledger_on_postgresql_says_the_same(config: TTPConfig, postgres: Database) -> None:
    config = msgspec.structs.replace(config, ledger=SecretText(postgres.url))
    async with await Authority.open(config) as authority:
        issuing = authority.ca_certificates[0]
        der = question(await enrolled(authority), issuing)
        assert (await asked(authority, der)).certificate_status is OCSPCertStatus.GOOD
        await authority.revoke("client", reason="superseded")
        answer = await asked(authority, der)
        assert answer.certificate_status is OCSPCertStatus.REVOKED
        assert answer.revocation_reason is x509.ReasonFlags.superseded


def post(body: bytes, media_type: str = "application/ocsp-request") -> Request:
    return Request("POST", "/ocsp", (("Content-Type", media_type),), body)


def status_of(response: Response) -> OCSPCertStatus:
    assert (response.status, response.header("Content-Type")) == (200, "application/ocsp-response")
    return ocsp.load_der_ocsp_response(response.body).certificate_status


async def test_it_is_asked_by_post_and_by_get(authority: Authority, pages: PublicPages) -> None:
    der = question(await enrolled(authority), authority.ca_certificates[0])
    posted = await pages.answer(post(der))
    assert status_of(posted) is OCSPCertStatus.GOOD
    assert posted.header("Cache-Control") == "no-store"
    text = base64.b64encode(der).decode()
    for target in (text, quote(text), quote(text, safe=""), text.rstrip("=")):
        got = await pages.answer(Request("GET", f"/ocsp/{target}"))
        assert status_of(got) is OCSPCertStatus.GOOD
        assert got.body == posted.body


async def test_a_cache_is_told_for_how_long_it_may_keep_an_answer(
    authority: Authority, pages: PublicPages
) -> None:
    issuing = authority.ca_certificates[0]
    certificate = await enrolled(authority)

    async def get(der: bytes) -> Response:
        target = quote(base64.b64encode(der).decode(), safe="")
        return await pages.answer(Request("GET", f"/ocsp/{target}"))

    got = await get(question(certificate, issuing))
    caching = got.header("Cache-Control") or ""
    assert caching.endswith(", public, no-transform, must-revalidate")
    left_s = int(caching.removeprefix("max-age=").partition(",")[0])
    assert 50 < left_s <= REUSED_FOR.total_seconds()
    assert {"Last-Modified", "Expires", "ETag"} <= {name for name, _ in got.headers}
    for der in (question(certificate, issuing, nonce=b"n"), b"junk"):
        assert (await get(der)).header("Cache-Control") == "no-store"


async def test_over_http_what_is_no_request_is_answered_all_the_same(pages: PublicPages) -> None:
    for request in (post(b"junk"), Request("GET", "/ocsp/!!!"), Request("GET", "/ocsp/AAAA")):
        response = await pages.answer(request)
        assert response.status == 200
        answer = ocsp.load_der_ocsp_response(response.body)
        assert answer.response_status is OCSPResponseStatus.MALFORMED_REQUEST


async def test_other_methods_types_and_paths_are_told_so(pages: PublicPages) -> None:
    for request, status in (
        (Request("GET", "/ocsp"), 405),
        (Request("POST", "/crl"), 405),
        (Request("PUT", "/ocsp"), 405),
        (post(b"", "text/plain"), 415),
        (Request("GET", "/ca/00"), 404),
        (Request("GET", "/crl/00"), 404),
        (Request("GET", "/.well-known/est/cacerts"), 404),
        (Request("GET", "/"), 404),
    ):
        assert (await pages.answer(request)).status == status


async def test_the_urls_in_certificates_lead_to_what_they_promise(
    authority: Authority, pages: PublicPages
) -> None:
    issuing, root = authority.ca_certificates
    base = "http://ca.example.org/pki"
    certificate = await enrolled(authority)
    for leaf in (certificate, authority.tls_certificate):
        assert leaf is not None
        access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        answerer, parent = (each.access_location.value for each in access)
        assert answerer == f"{base}/ocsp"
        fetched = await pages.answer(Request("GET", parent.removeprefix(base)))
        assert certificate_from_der(fetched.body) == issuing
        crl = await pages.answer(Request("GET", crl_of(leaf).removeprefix(base)))
        assert x509.load_der_x509_crl(crl.body).is_signature_valid(
            issuing.public_key()  # type: ignore[arg-type]
        )
    crl = await pages.answer(Request("GET", crl_of(issuing).removeprefix(base)))
    assert x509.load_der_x509_crl(crl.body).issuer == root.subject
    fetched = await pages.answer(Request("GET", f"/ca/{key_id_text(root)}"))
    assert fetched.body == to_der(root)


def crl_of(certificate: x509.Certificate) -> str:
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    (url,) = (name.value for point in points for name in point.full_name or ())
    return str(url)


async def test_without_a_public_url_certificates_point_nowhere(config: TTPConfig) -> None:
    async with await Authority.open(msgspec.structs.replace(config, status_url=None)) as plain:
        for certificate in (await enrolled(plain), plain.ca_certificates[0]):
            found = {type(extension.value) for extension in certificate.extensions}
            assert not found & {x509.CRLDistributionPoints, x509.AuthorityInformationAccess}
