from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from asynctls.errors import CertificateError, RequestError
from asynctls.pki.keys import KeyType
from asynctls.pki.ocsp import (
    MAX_NONCE_BYTES,
    MAX_REQUEST_BYTES,
    Answer,
    NotRevoked,
    Responder,
    StatusRequest,
    Unanswered,
    issuer_ids,
    read_request,
)
from asynctls.pki.profiles import make_responder
from asynctls.pki.status import REASONS, Revoked

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.pki.status import Revoked as RevokedStatus
    from tests.pki.conftest import CA, KeyOf, MakeCA

    RequestOf = Callable[..., bytes]

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

# `openssl ocsp -issuer ca.pem -serial 5 -serial 6 -no_nonce`, as it came: two questions at once.
TWO = bytes.fromhex(
    "308180307e307c303c303a300906052b0e03021a0500041411048cd20cb3592307d019fd0889562b62d36492"
    "0414c28cc9a7c299c425e60514cfc0a08e90da61ec7f020105303c303a300906052b0e03021a050004141104"
    "8cd20cb3592307d019fd0889562b62d364920414c28cc9a7c299c425e60514cfc0a08e90da61ec7f020106"
)


def responder_of(ca: CA, key_of: KeyOf, *, lifetime: timedelta = 7 * DAY) -> Responder:
    key = key_of(which="responder")
    certificate = make_responder(key.public_key(), issuer=ca.issuing, lifetime=lifetime, now=ca.now)
    return Responder(ca.issuing.certificate, certificate, key)


def request_for(
    ca: CA,
    serial: int = 5,
    *,
    nonce: bytes | None = None,
    algorithm: hashes.HashAlgorithm | None = None,
    extension: tuple[x509.ExtensionType, bool] | None = None,
) -> bytes:
    algorithm = algorithm or hashes.SHA1()
    builder = ocsp.OCSPRequestBuilder()
    (name_hash, key_hash) = next(
        (each.name_hash, each.key_hash)
        for each in issuer_ids(ca.issuing.certificate)
        if each.algorithm == algorithm.name
    )
    builder = builder.add_certificate_by_hash(name_hash, key_hash, serial, algorithm)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    if extension is not None:
        builder = builder.add_extension(*extension)
    return builder.build().public_bytes(Encoding.DER)


def signed(
    ca: CA,
    responder: Responder,
    status: RevokedStatus | NotRevoked = NotRevoked.GOOD,
    **asked: object,
) -> ocsp.OCSPResponse:
    request = read_request(request_for(ca, **asked))  # type: ignore[arg-type]
    answer = responder.sign(request, status, now=ca.now, lifetime=HOUR)
    return ocsp.load_der_ocsp_response(answer.der)


@pytest.mark.parametrize(
    "algorithm", [hashes.SHA1(), hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]
)
def test_an_issuer_is_known_by_each_hash_that_clients_use(
    ca: CA, other_ca: CA, algorithm: hashes.HashAlgorithm
) -> None:
    certificate = ca.leaf("client")
    asked = ocsp.OCSPRequestBuilder().add_certificate(
        certificate, ca.issuing.certificate, algorithm
    )
    request = read_request(asked.build().public_bytes(Encoding.DER))
    assert request.issuer in issuer_ids(ca.issuing.certificate)
    assert request.issuer not in issuer_ids(ca.root.certificate)
    assert request.issuer not in issuer_ids(other_ca.issuing.certificate)
    assert request.serial_number == certificate.serial_number
    assert request.nonce is None


@pytest.mark.parametrize("key_type", [KeyType.ECDSA_P256, KeyType.RSA_3072])
def test_an_answer_has_what_the_rfcs_ask_for(
    make_ca: MakeCA, key_of: KeyOf, key_type: KeyType
) -> None:
    ca = make_ca(key_type)
    responder = responder_of(ca, key_of)
    response = signed(ca, responder, serial=77)
    assert response.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    assert response.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert response.serial_number == 77
    assert response.certificates == [responder.certificate]
    key_id = x509.SubjectKeyIdentifier.from_public_key(responder.key.public_key())
    assert response.responder_key_hash == key_id.digest
    assert response.this_update_utc == ca.now <= response.produced_at_utc
    assert response.next_update_utc == ca.now + HOUR
    assert list(response.extensions) == []
    key = responder.certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(response.signature_hash_algorithm, hashes.SHA256)
    key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))


def test_what_was_revoked_is_said_with_time_and_reason(ca: CA, key_of: KeyOf) -> None:
    responder = responder_of(ca, key_of)
    for reason in (*REASONS, None):
        response = signed(ca, responder, Revoked(5, ca.now - DAY, reason))
        assert response.certificate_status is ocsp.OCSPCertStatus.REVOKED
        assert response.revocation_time_utc == ca.now - DAY
        said = response.revocation_reason
        assert (said and said.value) == reason


def test_what_was_never_issued_is_unknown(ca: CA, key_of: KeyOf) -> None:
    response = signed(ca, responder_of(ca, key_of), NotRevoked.UNKNOWN)
    assert response.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


@pytest.mark.parametrize("length", [1, 16, 32, MAX_NONCE_BYTES])
def test_a_nonce_is_echoed(ca: CA, key_of: KeyOf, length: int) -> None:
    nonce = bytes(range(length))
    response = signed(ca, responder_of(ca, key_of), nonce=nonce)
    assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce


@pytest.mark.parametrize("length", [0, MAX_NONCE_BYTES + 1])
def test_a_nonce_of_another_length_is_malformed(ca: CA, length: int) -> None:
    with pytest.raises(RequestError, match="1 to 128 bytes"):
        read_request(request_for(ca, nonce=b"x" * length))


def test_a_critical_extension_that_is_not_known_is_refused_and_another_ignored(ca: CA) -> None:
    unheard_of = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0")
    with pytest.raises(RequestError, match=r"critical extension 1\.2\.3"):
        read_request(request_for(ca, extension=(unheard_of, True)))
    assert read_request(request_for(ca, extension=(unheard_of, False))).serial_number == 5


def test_a_request_for_two_certificates_is_refused_with_words() -> None:
    with pytest.raises(RequestError, match="ask for each by itself"):
        read_request(TWO)


def test_a_request_that_is_too_long_is_not_read(ca: CA) -> None:
    filler = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"x" * MAX_REQUEST_BYTES)
    with pytest.raises(RequestError, match="4096 bytes"):
        read_request(request_for(ca, extension=(filler, False)))


@pytest.mark.parametrize("unanswered", Unanswered)
def test_the_unsigned_answers_say_only_why(unanswered: Unanswered) -> None:
    response = ocsp.load_der_ocsp_response(unanswered.der)
    assert response.response_status is unanswered.value
    assert len(unanswered.der) == 5


def test_a_responder_needs_its_issuers_word_for_it(ca: CA, other_ca: CA, key_of: KeyOf) -> None:
    responder = responder_of(ca, key_of)
    with pytest.raises(CertificateError, match="was not issued by"):
        Responder(other_ca.issuing.certificate, responder.certificate, responder.key)
    with pytest.raises(CertificateError, match="private key"):
        Responder(responder.issuer, responder.certificate, key_of(which="other"))
    with pytest.raises(CertificateError, match="not one for OCSP"):
        Responder(responder.issuer, ca.leaf("client"), key_of(which="leaf"))
    with pytest.raises(CertificateError, match="not one for OCSP"):
        Responder(ca.root.certificate, ca.issuing.certificate, ca.issuing.key)
    assert "PrivateKey" not in repr(responder)


def test_no_answer_outlives_its_responder(ca: CA, key_of: KeyOf) -> None:
    responder = responder_of(ca, key_of, lifetime=timedelta(seconds=10))
    request = read_request(request_for(ca))
    answer = responder.sign(request, NotRevoked.GOOD, now=ca.now, lifetime=HOUR)
    assert isinstance(answer, Answer)
    assert answer.next_update == ca.now + timedelta(seconds=10)
    with pytest.raises(CertificateError, match="expired"):
        responder.sign(request, NotRevoked.GOOD, now=ca.now + timedelta(seconds=10), lifetime=HOUR)


def answered(der: bytes, ca: CA, responder: Responder) -> None:
    """Either refused, or answered with exactly what was asked about."""
    try:
        request = read_request(der)
    except RequestError:
        return
    assert isinstance(request, StatusRequest)
    answer = responder.sign(request, NotRevoked.UNKNOWN, now=ca.now, lifetime=HOUR)
    response = ocsp.load_der_ocsp_response(answer.der)
    assert response.serial_number == request.serial_number
    assert response.issuer_key_hash == request.issuer.key_hash


def test_a_mangled_request_is_answered_or_refused(ca: CA, key_of: KeyOf) -> None:
    whole, responder = request_for(ca, nonce=b"n" * 16), responder_of(ca, key_of)

    @given(st.integers(0, len(whole) - 1), st.integers(0, 255), st.integers(0, 3))
    def hold(at: int, value: int, cut: int) -> None:
        answered(whole[:at] + bytes([value]) + whole[at + 1 + cut :], ca, responder)

    hold()


def test_a_negative_serial_number_is_refused(ca: CA) -> None:
    whole, serial = request_for(ca, 5), b"\x02\x01\x05"
    assert whole.endswith(serial)
    with pytest.raises(RequestError, match="negative serial number"):
        read_request(whole[:-1] + b"\x80")


def test_random_bytes_are_no_request(ca: CA, key_of: KeyOf) -> None:
    responder = responder_of(ca, key_of)

    @given(st.binary(max_size=200))
    def hold(junk: bytes) -> None:
        answered(junk, ca, responder)

    hold()


def test_any_serial_number_and_nonce_come_back(ca: CA, key_of: KeyOf) -> None:
    responder = responder_of(ca, key_of)

    @given(st.integers(0, (1 << 159) - 1), st.binary(min_size=1, max_size=MAX_NONCE_BYTES))
    def hold(serial: int, nonce: bytes) -> None:
        response = signed(ca, responder, serial=serial, nonce=nonce)
        assert response.serial_number == serial
        assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce

    hold()
