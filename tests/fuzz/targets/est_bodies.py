"""EST's bodies (`enrolment.est_codec`): base64, and the PKCS#7 in it."""

from __future__ import annotations

import base64

from asynctls.enrolment import est_certificates, est_codec
from asynctls.errors import CertificateError, RequestError
from tests.fuzz.world import ISSUING, ROOT, leaf


def run(data: bytes) -> bool:
    """A body as it is posted or answered, and the content of one."""
    try:
        der = est_codec.decode_request(data)
        assert est_codec.decode_request(est_codec.encode(der)) == der
    except RequestError:
        pass
    assert est_codec.decode_request(base64.encodebytes(data)) == data
    return any([_taken(body) for body in (data, est_codec.encode(data))])


def _taken(body: bytes) -> bool:
    try:
        certificates = est_certificates.decode_certificates(body)
    except CertificateError as error:
        assert str(error).isprintable()
        return False
    if certificates:
        again = est_certificates.decode_certificates(
            est_certificates.encode_certificates(certificates)
        )
        assert set(again) == set(certificates)
    return True


def seeds() -> dict[str, bytes]:
    """Bodies of no, one and two certificates, and their content."""
    one = est_certificates.encode_certificates([leaf("server")])
    two = est_certificates.encode_certificates([ISSUING.certificate, ROOT.certificate])
    return {
        "one": one,
        "two": two,
        "lines": base64.encodebytes(base64.b64decode(one)),
        "content": base64.b64decode(two),
        "no-base64": b"=" + one,
        "no-pkcs7": est_codec.encode(b"\x30\x00"),
        "no-body": b"",
    }
