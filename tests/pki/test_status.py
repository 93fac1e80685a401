from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from asynctls.errors import CertificateError
from asynctls.pki.der import pieces
from asynctls.pki.keys import KeyType
from asynctls.pki.profiles import key_id_of
from asynctls.pki.status import (
    REASONS,
    Replacement,
    RevocationList,
    Revoked,
    may_replace,
    read_crl,
    sign_crl,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.pki.conftest import CA, MakeCA

DAY = timedelta(days=1)
NUMBER = (x509.CRLNumber(7), False)


def crl_of(ca: CA, *revoked: Revoked, number: int = 7) -> bytes:
    return sign_crl(ca.issuing, number=number, revoked=revoked, now=ca.now, lifetime=DAY)


def built(
    ca: CA, *extensions: tuple[x509.ExtensionType, bool], entry: x509.ExtensionType | None = None
) -> bytes:
    """A CRL that the CA itself would never make, properly signed."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.issuing.certificate.subject)
    builder = builder.last_update(ca.now).next_update(ca.now + DAY)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    if entry is not None:
        revoked = x509.RevokedCertificateBuilder().serial_number(5).revocation_date(ca.now)
        builder = builder.add_revoked_certificate(
            revoked.add_extension(entry, critical=True).build()
        )
    crl = builder.sign(ca.issuing.key, hashes.SHA384())
    return crl.public_bytes(serialization.Encoding.DER)


def test_a_signed_list_reads_back(ca: CA) -> None:
    revoked = [Revoked(5, ca.now - DAY, "keyCompromise"), Revoked((1 << 159) - 1, ca.now)]
    read = read_crl(crl_of(ca, *revoked), ca.issuing.certificate)
    assert read.serials == {5, (1 << 159) - 1}
    assert (read.number, read.this_update, read.next_update) == (7, ca.now, ca.now + DAY)
    assert read.issuer == ca.issuing.certificate.subject.public_bytes()
    assert read.authority_key_id == key_id_of(ca.issuing.certificate).digest
    assert str(read).startswith("CRL 7 of asynctls issuing CA")
    assert str(read).endswith("2 revoked")
    assert len(repr(read)) < 500


def test_a_roots_empty_list_reads_back(ca: CA) -> None:
    der = sign_crl(ca.root, number=1, revoked=[], now=ca.now, lifetime=3652 * DAY)
    assert read_crl(der, ca.root.certificate).serials == frozenset()


def test_a_list_has_what_the_rfc_asks_for(ca: CA) -> None:
    revoked = [Revoked(index + 1, ca.now, reason) for index, reason in enumerate(REASONS)]
    der = crl_of(ca, *revoked, Revoked(99, ca.now), Revoked(1, ca.now - DAY))
    crl = x509.load_der_x509_crl(der)
    assert isinstance(crl.signature_hash_algorithm, hashes.SHA384)
    assert not any(extension.critical for extension in crl.extensions)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    own = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert own.key_identifier == key_id_of(ca.issuing.certificate).digest
    entries = {entry.serial_number: entry for entry in crl}
    assert len(entries) == len(list(crl)) == len(REASONS) + 1
    assert list(entries[99].extensions) == []
    assert entries[1].revocation_date_utc == ca.now
    reason = entries[1].extensions.get_extension_for_class(x509.CRLReason)
    assert (reason.value.reason.value, reason.critical) == ("keyCompromise", False)


@pytest.mark.parametrize("reason", ["", "unspecified", "removeFromCRL", "certificateHold", "theft"])
def test_what_is_no_reason_for_a_revocation_is_refused(ca: CA, reason: str) -> None:
    with pytest.raises(CertificateError, match="it is one of keyCompromise"):
        crl_of(ca, Revoked(5, ca.now, reason))


def test_a_list_needs_a_lifetime_and_a_number(ca: CA) -> None:
    with pytest.raises(CertificateError, match="one second"):
        sign_crl(ca.issuing, number=1, revoked=[], now=ca.now, lifetime=timedelta(seconds=0.5))
    for number in (-1, 1 << 159):
        with pytest.raises(CertificateError, match="CRL number"):
            crl_of(ca, number=number)


@pytest.mark.parametrize("key_type", [KeyType.RSA_2048, KeyType.ECDSA_P384])
def test_a_list_is_what_openssl_reads_and_verifies(
    make_ca: MakeCA, key_type: KeyType, tmp_path: Path
) -> None:
    ca = make_ca(key_type)
    revoked = [
        Revoked(0x80, ca.now, "superseded"),
        Revoked(0xAB, datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
        Revoked(0xCD, datetime(2050, 1, 1, tzinfo=UTC), "keyCompromise"),
    ]
    list_file, ca_file = tmp_path / "crl.der", tmp_path / "ca.pem"
    list_file.write_bytes(crl_of(ca, *revoked))
    ca_file.write_bytes(ca.issuing.certificate.public_bytes(serialization.Encoding.PEM))
    said = subprocess.run(
        ["openssl", "crl", "-inform", "DER", "-in", list_file, "-CAfile", ca_file, "-text"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "verify OK" in said.stderr
    for words in ("Serial Number: 80", "Dec 31 23:59:59 2049", "Jan  1 00:00:00 2050", "Key Comp"):
        assert words in said.stdout
    read = read_crl(list_file.read_bytes(), ca.issuing.certificate)
    assert read.serials == {0x80, 0xAB, 0xCD}


@pytest.mark.parametrize("serial_number", [0, -5, 1 << 159])
def test_what_is_no_serial_number_is_not_listed(ca: CA, serial_number: int) -> None:
    with pytest.raises(CertificateError, match="serial number"):
        crl_of(ca, Revoked(serial_number, ca.now))


def test_what_is_no_date_of_a_revocation_is_not_listed(ca: CA) -> None:
    assert crl_of(ca, Revoked(5, datetime(1950, 1, 1, tzinfo=UTC)))
    with pytest.raises(CertificateError, match="1950"):
        crl_of(ca, Revoked(5, datetime(1949, 12, 31, 23, 59, 59, tzinfo=UTC)))


def test_a_list_signed_by_rsa_pss_is_read(make_ca: MakeCA) -> None:
    ca = make_ca(KeyType.RSA_2048)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.issuing.certificate.subject)
    builder = builder.last_update(ca.now).next_update(ca.now + DAY)
    builder = builder.add_extension(*NUMBER)
    key = ca.issuing.key
    assert isinstance(key, rsa.RSAPrivateKey)
    der = builder.sign(key, hashes.SHA256(), rsa_padding=pss).public_bytes(
        serialization.Encoding.DER
    )
    assert read_crl(der, ca.issuing.certificate).number == 7


def test_a_list_that_names_two_algorithms_is_refused(ca: CA) -> None:
    tbs, _, signature = pieces(crl_of(ca, Revoked(5, ca.now)))
    sha384, sha256 = bytes.fromhex("2a8648ce3d040303"), bytes.fromhex("2a8648ce3d040302")
    other = tbs.replace(sha384, sha256)
    assert other != tbs
    key = ca.issuing.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = tlv(3, b"\0" + key.sign(other, ec.ECDSA(hashes.SHA384())))
    der = tlv(0x30, other + tlv(0x30, tlv(6, sha384)) + signature)
    with pytest.raises(CertificateError, match="algorithms do not match"):
        read_crl(der, ca.issuing.certificate)


def test_a_list_of_an_algorithm_for_another_kind_of_key_is_refused(make_ca: MakeCA, ca: CA) -> None:
    rsa_ca = make_ca(KeyType.RSA_2048)
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.issuing.certificate.subject)
    builder = builder.last_update(ca.now).next_update(ca.now + DAY).add_extension(*NUMBER)
    der = builder.sign(rsa_ca.issuing.key, hashes.SHA384()).public_bytes(serialization.Encoding.DER)
    with pytest.raises(CertificateError, match="signature"):
        read_crl(der, ca.issuing.certificate)


def test_a_list_of_another_issuer_is_refused(ca: CA, other_ca: CA) -> None:
    with pytest.raises(CertificateError, match="it is one of 'CN=asynctls issuing CA"):
        read_crl(crl_of(other_ca), ca.issuing.certificate)


def test_a_forged_list_is_refused(ca: CA) -> None:
    der = crl_of(ca, Revoked(0x1122334455667788, ca.now))
    serial = bytes.fromhex("1122334455667788")
    assert serial in der
    with pytest.raises(CertificateError, match="signature"):
        read_crl(der.replace(serial, bytes.fromhex("1122334455667799")), ca.issuing.certificate)


@pytest.mark.parametrize(
    ("extensions", "words"),
    [
        ([NUMBER, (x509.DeltaCRLIndicator(3), True)], "delta"),
        ([NUMBER, (x509.DeltaCRLIndicator(3), False)], "delta"),
        (
            [
                NUMBER,
                (
                    x509.IssuingDistributionPoint(
                        full_name=None,
                        relative_name=None,
                        only_contains_user_certs=False,
                        only_contains_ca_certs=False,
                        only_some_reasons=None,
                        indirect_crl=True,
                        only_contains_attribute_certs=False,
                    ),
                    True,
                ),
            ],
            "indirect",
        ),
        (
            [NUMBER, (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"), True)],
            "critical extension 1.2.3",
        ),
        ([NUMBER, (x509.AuthorityKeyIdentifier(b"other", None, None), False)], "another key"),
        ([], "no CRL number"),
    ],
)
def test_a_list_that_says_less_than_it_seems_to_is_refused(
    ca: CA, extensions: list[tuple[x509.ExtensionType, bool]], words: str
) -> None:
    with pytest.raises(CertificateError, match=words):
        read_crl(built(ca, *extensions), ca.issuing.certificate)


def test_a_list_with_extensions_that_may_be_ignored_is_read(ca: CA) -> None:
    freshest = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0")
    assert read_crl(built(ca, NUMBER, (freshest, False)), ca.issuing.certificate).number == 7


def test_a_critical_extension_of_an_entry_spoils_the_list(ca: CA) -> None:
    issuer = x509.CertificateIssuer([x509.DirectoryName(ca.root.certificate.subject)])
    with pytest.raises(CertificateError, match="an entry has a critical extension"):
        read_crl(built(ca, NUMBER, entry=issuer), ca.issuing.certificate)


def test_a_serial_number_that_looks_like_a_critical_flag_spoils_nothing(ca: CA) -> None:
    der = crl_of(ca, Revoked(0x0101FF, ca.now, "superseded"))
    assert read_crl(der, ca.issuing.certificate).serials == {0x0101FF}


def test_a_list_without_an_end_is_refused(ca: CA) -> None:
    tbs = x509.load_der_x509_crl(crl_of(ca)).tbs_certlist_bytes
    end = f"{ca.now + DAY:%y%m%d%H%M%S}Z".encode()
    assert tbs.count(b"\x17\x0d" + end) == 1
    tbs = tlv(0x30, tbs[len(tlv(0, tbs)) - len(tbs) :].replace(b"\x17\x0d" + end, b""))
    key = ca.issuing.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = key.sign(tbs, ec.ECDSA(hashes.SHA384()))
    ecdsa_with_sha384 = bytes.fromhex("300a06082a8648ce3d040303")
    endless = tlv(0x30, tbs + ecdsa_with_sha384 + tlv(3, b"\0" + signature))
    assert x509.load_der_x509_crl(endless).next_update_utc is None
    with pytest.raises(CertificateError, match="nextUpdate"):
        read_crl(endless, ca.issuing.certificate)


def tlv(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 128:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def test_a_leaf_signs_no_list(ca: CA) -> None:
    leaf = ca.leaf("client")
    with pytest.raises(CertificateError):
        read_crl(crl_of(ca), leaf)


def test_a_mangled_list_is_never_taken(ca: CA) -> None:
    der = crl_of(ca, Revoked(5, ca.now, "keyCompromise"), Revoked(6, ca.now))

    @given(st.integers(0, len(der) - 1), st.integers(0, 255))
    def hold(at: int, value: int) -> None:
        mangled = der[:at] + bytes([value]) + der[at + 1 :]
        if mangled != der:
            with pytest.raises(CertificateError):
                read_crl(mangled, ca.issuing.certificate)

    hold()


def test_random_bytes_are_no_list(ca: CA) -> None:
    @given(st.binary(max_size=200))
    def hold(junk: bytes) -> None:
        with pytest.raises(CertificateError, match="malformed"):
            read_crl(junk, ca.issuing.certificate)

    hold()


def test_ten_thousand_entries_are_read_quickly(ca: CA) -> None:
    revoked = [Revoked(x509.random_serial_number(), ca.now, "superseded") for _ in range(10_000)]
    der = crl_of(ca, *revoked)
    began = time.process_time()
    read = read_crl(der, ca.issuing.certificate)
    # 50 ms on the machine of the baselines; the bound only finds what is of another order.
    assert time.process_time() - began < 1
    assert read.serials == {entry.serial_number for entry in revoked}


@pytest.mark.parametrize(
    ("number", "age", "verdict"),
    [
        (8, 1, Replacement.NEWER),
        (8, 0, Replacement.NEWER),
        (8, -1, Replacement.NEWER),
        (7, 1, Replacement.ROLLED_BACK),
        (6, 1, Replacement.ROLLED_BACK),
        (7, 0, Replacement.OLDER),
        (6, 0, Replacement.OLDER),
        (6, -1, Replacement.OLDER),
    ],
)
def test_the_rule_for_lower_numbers(ca: CA, number: int, age: int, verdict: Replacement) -> None:
    held = read_crl(crl_of(ca), ca.issuing.certificate)
    fetched: RevocationList = replace(
        held, number=number, this_update=held.this_update + timedelta(seconds=age), der=b"other"
    )
    assert may_replace(held, fetched) is verdict
    assert may_replace(held, held) is Replacement.SAME
