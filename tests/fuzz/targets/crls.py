"""CRLs (`pki.status`): a `RevocationList` that its issuer signed, or refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from asynctls.enrolment import crls
from asynctls.errors import CertificateError
from asynctls.pki.status import Replacement, Revoked, may_replace, read_crl, sign_crl
from tests.fuzz.world import ISSUING, ISSUING_KEY, NOW, ROOT, body_of, signed_anew

_DAY: Final = timedelta(days=1)


def run(data: bytes) -> bool:
    """A CRL, what a CRL is signed over, and a crl.pem."""
    taken = [_taken(der) for der in (data, signed_anew(data, ISSUING_KEY, hashes.SHA384))]
    return any([*taken, _taken_as_pem(data.decode(errors="replace"))])


def _taken_as_pem(text: str) -> bool:
    authorities = (ISSUING.certificate, ROOT.certificate)
    try:
        lists = crls.from_pem(text, authorities)
    except CertificateError as error:
        assert str(error)
        return False
    assert crls.from_pem(crls.to_pem(lists), authorities) == lists
    return bool(lists)


def _taken(der: bytes) -> bool:
    try:
        crl = read_crl(der, ISSUING.certificate)
    except CertificateError as error:
        assert str(error)
        return False
    assert crl.der == der
    assert crl.issuer == ISSUING.certificate.subject.public_bytes()
    assert str(crl).isprintable()
    assert may_replace(crl, crl) is Replacement.SAME
    return True


def seeds() -> dict[str, bytes]:
    """Empty, with entries, and of kinds that are not taken."""

    def signed(*revoked: Revoked) -> bytes:
        return sign_crl(ISSUING, number=3, revoked=revoked, now=NOW, lifetime=_DAY)

    entries = signed(Revoked(1, NOW), Revoked(1 << 150, NOW, "keyCompromise"))
    delta = (
        x509.CertificateRevocationListBuilder(ISSUING.certificate.subject, NOW, NOW + _DAY)
        .add_extension(x509.DeltaCRLIndicator(1), critical=True)
        .sign(ISSUING_KEY, hashes.SHA384())
        .public_bytes(serialization.Encoding.DER)
    )
    return {
        "empty": signed(),
        "entries": entries,
        "body": body_of(entries),
        "pem": crls.to_pem((read_crl(entries, ISSUING.certificate),)).encode(),
        "no-pem": b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        "no-delta": delta,
        "no-other-issuer": sign_crl(ROOT, number=1, revoked=(), now=NOW, lifetime=_DAY),
        "no-crl": b"\x30\x00",
    }
