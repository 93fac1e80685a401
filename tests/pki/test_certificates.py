from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from asynctls.errors import CertificateError
from asynctls.pki.certificates import (
    certificate_from_der,
    certificates_from_pem,
    chained_to,
    check_issued_by,
    fingerprint,
    to_der,
    to_pem,
)
from asynctls.pki.names import common_name_of, identity_name
from asynctls.pki.profiles import make_issuing, make_root

if TYPE_CHECKING:
    from tests.pki.conftest import CA, KeyOf

DAY = timedelta(days=1)


def test_certificates_survive_both_forms(ca: CA) -> None:
    chain = (ca.issuing.certificate, ca.root.certificate)
    assert certificates_from_pem(to_pem(*chain).encode()) == chain
    assert certificate_from_der(to_der(chain[0])) == chain[0]
    assert fingerprint(chain[1]) == hashlib.sha256(to_der(chain[1])).digest()


def test_a_serial_number_that_is_not_positive_is_no_other_error(ca: CA) -> None:
    """Where warnings are errors, as here (RFC 5280, section 4.1.2.2)."""
    der = bytearray(to_der(ca.root.certificate))
    number = ca.root.certificate.serial_number
    der[der.index(number.to_bytes(number.bit_length() // 8 + 1, "big"))] |= 0x80
    with pytest.raises(CertificateError):
        certificate_from_der(bytes(der))


@given(st.binary(max_size=100))
def test_what_is_no_certificate_is_refused(junk: bytes) -> None:
    with pytest.raises(CertificateError):
        certificate_from_der(junk)
    with pytest.raises(CertificateError):
        certificates_from_pem(junk)


def test_who_has_a_subject_that_cannot_be_read_is_nobody(ca: CA) -> None:
    name = common_name_of(ca.issuing.certificate.subject)
    assert name is not None
    der = to_der(ca.issuing.certificate).replace(name.encode(), name[:-1].encode() + b"\xff")
    unreadable = certificate_from_der(der)
    with pytest.raises(CertificateError, match="unreadable"):
        check_issued_by(unreadable, ca.root.certificate)
    with pytest.raises(CertificateError, match="subject cannot be read"):
        identity_name(unreadable)


def test_a_certificate_is_its_issuers_and_nobody_elses(ca: CA, other_ca: CA) -> None:
    leaf = ca.leaf("client")
    check_issued_by(leaf, ca.issuing.certificate)
    check_issued_by(ca.issuing.certificate, ca.root.certificate)
    check_issued_by(ca.root.certificate, ca.root.certificate)
    for other in (ca.root, other_ca.issuing):
        with pytest.raises(CertificateError, match="was not issued by"):
            check_issued_by(leaf, other.certificate)


def test_a_namesake_with_another_key_is_found_out(ca: CA, key_of: KeyOf) -> None:
    namesake = (
        x509.CertificateBuilder()
        .subject_name(ca.root.certificate.subject)
        .issuer_name(ca.root.certificate.subject)
        .public_key(key_of(which="thief").public_key())
        .serial_number(1)
        .not_valid_before(ca.now)
        .not_valid_after(ca.now + DAY)
    )
    for extension in ca.root.certificate.extensions:
        namesake = namesake.add_extension(extension.value, extension.critical)
    forged = namesake.sign(key_of(which="thief"), hashes.SHA256())
    with pytest.raises(CertificateError, match="signature"):
        check_issued_by(ca.issuing.certificate, forged)
    assert chained_to(forged, [ca.issuing.certificate], now=ca.now) == ()


def test_a_leaf_issues_nothing(ca: CA, key_of: KeyOf) -> None:
    with pytest.raises(CertificateError, match="is not a CA"):
        check_issued_by(ca.leaf("client"), ca.leaf("server"))


def test_only_what_the_pinned_root_signed_is_kept(ca: CA, other_ca: CA, key_of: KeyOf) -> None:
    second = make_issuing(
        key_of(which="second").public_key(), issuer=ca.root, lifetime=DAY, now=ca.now
    )
    bundle = [
        ca.root.certificate,
        other_ca.issuing.certificate,
        ca.issuing.certificate,
        ca.leaf("client"),
        second,
        ca.issuing.certificate,
        other_ca.root.certificate,
    ]
    root = ca.root.certificate
    assert chained_to(root, bundle, now=ca.now) == (ca.issuing.certificate, second)
    assert chained_to(root, bundle, now=ca.now + DAY) == (ca.issuing.certificate,)
    assert chained_to(root, bundle, now=ca.now - timedelta(seconds=60)) != ()
    assert chained_to(root, [], now=ca.now) == ()


def test_a_root_that_is_none_or_not_valid_now_vouches_for_nothing(ca: CA, key_of: KeyOf) -> None:
    bundle = [ca.issuing.certificate]
    with pytest.raises(CertificateError, match="is not a CA"):
        chained_to(ca.leaf("client"), bundle, now=ca.now)
    with pytest.raises(CertificateError, match="was not issued by"):
        chained_to(ca.issuing.certificate, bundle, now=ca.now)
    short = make_root(key_of(which="root"), lifetime=DAY, now=ca.now)
    with pytest.raises(CertificateError, match="by this clock it is"):
        chained_to(short, bundle, now=ca.now + DAY)
