"""Certificates as peers, TTPs and files show them (`pki.certificates`, `admission`, EST client)."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Final

from cryptography.hazmat.primitives import hashes

from asynctls.admission import Admitted, Anyone, Peer, Refused, Rules, admit, allow_list
from asynctls.enrolment.est_client import only_ttp
from asynctls.errors import CertificateError
from asynctls.pki.certificates import (
    certificate_from_der,
    certificates_from_pem,
    chained_to,
    check_issued_by,
    to_der,
    to_pem,
)
from asynctls.pki.names import identity_name
from asynctls.pki.profiles import Profile
from asynctls.pki.status import read_crl, sign_crl
from tests.fuzz.world import ISSUING, ISSUING_KEY, NOW, ROOT, ROOT_KEY, body_of, leaf, signed_anew

_ALPN: Final = "asynctls/1"


def run(data: bytes) -> bool:
    """A certificate, what one is signed over, and a PEM text."""
    try:
        read = certificates_from_pem(data)
        assert certificates_from_pem(to_pem(*read).encode()) == read
    except CertificateError:
        pass
    by_issuing = signed_anew(data, ISSUING_KEY, hashes.SHA384)
    by_root = signed_anew(data, ROOT_KEY, hashes.SHA384)
    return any([_taken(der) for der in (data, by_issuing, by_root)])


def _taken(der: bytes) -> bool:
    _judge(der)
    try:
        certificate = certificate_from_der(der)
    except CertificateError as error:
        assert str(error).isprintable()
        return False
    for issuer in (ISSUING.certificate, ROOT.certificate):
        try:
            check_issued_by(certificate, issuer)
        except CertificateError as error:
            assert str(error)
    for chained in chained_to(ROOT.certificate, [certificate], now=NOW):
        check_issued_by(chained, ROOT.certificate)
    try:
        assert identity_name(certificate).isprintable()
    except CertificateError:
        return False
    return True


def _judge(der: bytes) -> None:
    for rules in _rules():
        verdict = admit(der, _ALPN, now=NOW, rules=rules)
        assert isinstance(verdict, Admitted | Refused)
        assert verdict.reason.isprintable(), "a log would not be one line"
    assert only_ttp(der, None).reason.isprintable()
    try:
        peer = Peer.claimed(der)
    except CertificateError as error:
        assert str(error).isprintable()
    else:
        assert str(peer).isprintable()


@cache
def _rules() -> tuple[Rules, ...]:
    der = sign_crl(ISSUING, number=1, revoked=(), now=NOW, lifetime=timedelta(days=1))
    crls = (read_crl(der, ISSUING.certificate),)
    return (
        Rules(allow=Anyone(), crls=crls, alpn=_ALPN),
        Rules(allow=allow_list(["client", "*.example.org", "spiffe://td/*"]), crls=crls, alpn=None),
    )


def seeds() -> dict[str, bytes]:
    """Leaves, CAs, their bodies, and PEM."""
    client = leaf("client", "10.0.0.1", "spiffe://td/x", profile=Profile.CLIENT)
    ttp = leaf("ttp.example.org", profile=Profile.TTP)
    body = body_of(to_der(client))
    return {
        "client": to_der(client),
        "ttp": to_der(ttp),
        "odd-subject": body.replace(b"\x0c\x06client", b"\x0c\x06clien\xff"),
        "issuing": to_der(ISSUING.certificate),
        "body": body,
        "issuing-body": body_of(to_der(ISSUING.certificate)),
        # x400Address and ediPartyName, which the library reads of no certificate.
        "no-odd-name": body.replace(b"\x82\x06client", b"\xa3\x06client"),
        "no-other-name": body.replace(b"\x82\x06client", b"\xa5\x06client"),
        "no-single": to_pem(client, ISSUING.certificate).encode(),
        "no-certificate": b"\x30\x00",
    }
