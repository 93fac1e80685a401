"""What a TTP wants in a request, read back by pyasn1's RFC 7030 module."""

from __future__ import annotations

import base64

import pytest
from pyasn1.codec.der.decoder import decode  # type: ignore[import-untyped]
from pyasn1.type.univ import Integer, ObjectIdentifier  # type: ignore[import-untyped]
from pyasn1_alt_modules import rfc7030  # type: ignore[import-untyped]

from asynctls.enrolment.csr_attributes import csr_attributes
from asynctls.pki.keys import KeyType

LINK = "1.2.840.113549.1.9.7"
RSA, EC = "1.2.840.113549.1.1.1", "1.2.840.10045.2.1"


def read(der: bytes | None) -> list[str | tuple[str, str]]:
    assert der is not None
    attributes, rest = decode(der, asn1Spec=rfc7030.CsrAttrs())
    assert rest == b""
    found: list[str | tuple[str, str]] = []
    for each in attributes:
        if each.getName() == "oid":
            found.append(str(each["oid"]))
        else:
            (value,) = each["attribute"]["attrValues"]
            kind = Integer() if value[0] == 2 else ObjectIdentifier()
            found.append((str(each["attribute"]["attrType"]), str(decode(value, kind)[0])))
    return found


def test_nothing_is_wanted_where_anything_goes() -> None:
    assert csr_attributes(key_types=(), link=False) is None


@pytest.mark.parametrize(
    ("key_types", "attributes"),
    [
        ((), []),
        ((KeyType.RSA_3072,), [(RSA, "3072")]),
        ((KeyType.RSA_4096, KeyType.RSA_2048), [(RSA, "2048")]),
        ((KeyType.ECDSA_P256,), [(EC, "1.2.840.10045.3.1.7")]),
        ((KeyType.ECDSA_P384, KeyType.RSA_4096), [(RSA, "4096"), (EC, "1.3.132.0.34")]),
    ],
)
def test_the_least_size_of_each_algorithm_is_wanted(
    key_types: tuple[KeyType, ...], attributes: list[tuple[str, str]]
) -> None:
    assert read(csr_attributes(key_types=key_types, link=True)) == [LINK, *attributes]
    if attributes:
        assert read(csr_attributes(key_types=key_types, link=False)) == attributes


def test_it_says_the_curve_as_the_example_of_the_rfc_does() -> None:
    # RFC 7030, section 4.5.2, begins with challengePassword and ecPublicKey with secp384r1.
    example = base64.b64decode(
        "MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJBgcrBgEBAQEWBggqhkjOPQQDAw=="
    )
    ours = csr_attributes(key_types=[KeyType.ECDSA_P384], link=True)
    assert ours is not None
    assert example[2:].startswith(ours[2:])
