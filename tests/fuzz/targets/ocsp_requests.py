"""OCSP requests (`pki.ocsp`, `ttp.public`): an answer that any client can read, or a refusal."""

from __future__ import annotations

import base64
from datetime import timedelta
from functools import cache
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from asynctls.errors import RequestError
from asynctls.pki.ocsp import (
    MAX_NONCE_BYTES,
    MAX_REQUEST_BYTES,
    IssuerID,
    NotRevoked,
    Responder,
    issuer_ids,
    read_request,
)
from asynctls.ttp.public import _decoded
from tests.fuzz.texts import text_of
from tests.fuzz.world import ISSUING, NOW, RESPONDER_KEY, leaf, responder

_DAY: Final = timedelta(days=1)


def run(data: bytes) -> bool:
    """A request as it is posted; and what stands in a URL."""
    in_url = _decoded(text_of(data))
    assert _decoded(quote(base64.b64encode(data).decode(), safe="")) == data
    return any([_taken(der) for der in (data, in_url)])


def _taken(der: bytes) -> bool:
    try:
        request = read_request(der)
    except RequestError as error:
        assert str(error).isprintable()
        return False
    assert len(der) <= MAX_REQUEST_BYTES
    assert request.nonce is None or 0 < len(request.nonce) <= MAX_NONCE_BYTES
    if request.issuer not in _ours():
        return False
    answer = _responder().sign(request, NotRevoked.GOOD, now=NOW, lifetime=_DAY)
    read = ocsp.load_der_ocsp_response(answer.der)
    assert read.serial_number == request.serial_number
    assert read.issuer_name_hash == request.issuer.name_hash
    assert answer.is_for_one == (request.nonce is not None)
    return True


@cache
def _ours() -> frozenset[IssuerID]:
    return frozenset(issuer_ids(ISSUING.certificate))


@cache
def _responder() -> Responder:
    return Responder(ISSUING.certificate, responder(), RESPONDER_KEY)


def seeds() -> dict[str, bytes]:
    """With each hash, with a nonce, in a URL; for two certificates."""
    certificate = leaf("server")

    def asked(algorithm: hashes.HashAlgorithm, nonce: bytes = b"") -> bytes:
        builder = ocsp.OCSPRequestBuilder().add_certificate(
            certificate, ISSUING.certificate, algorithm
        )
        if nonce:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        return builder.build().public_bytes(serialization.Encoding.DER)

    plain = asked(hashes.SHA1())
    return {
        "sha1": plain,
        "sha256": asked(hashes.SHA256()),
        "sha512-nonce": asked(hashes.SHA512(), bytes(16)),
        "url": quote(base64.b64encode(plain).decode(), safe="").encode(),
        "bare-url": base64.b64encode(plain).rstrip(b"="),
        "no-such-nonce": asked(hashes.SHA1(), bytes(MAX_NONCE_BYTES + 1)),
        "no-request": b"\x30\x00",
    }
