"""What a TTP wants in a request, for clients that ask beforehand (RFC 7030, 4.5.2; RFC 9908).

CsrAttrs is a sequence of object identifiers ('have this attribute') and of attributes ('have it
with this value'): enough here to ask for the link of section 3.5 and for the least size of a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.pki.der import OBJECT_IDENTIFIER, SEQUENCE, SET, integer, tlv
from asynctls.pki.keys import KeyType

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["csr_attributes"]

_CHALLENGE_PASSWORD = bytes.fromhex("2a864886f70d010907")  # 1.2.840.113549.1.9.7
_RSA_ENCRYPTION = bytes.fromhex("2a864886f70d010101")  # 1.2.840.113549.1.1.1
_EC_PUBLIC_KEY = bytes.fromhex("2a8648ce3d0201")  # 1.2.840.10045.2.1


def _rsa(bits: int) -> bytes:
    # RFC 9908 gives the modulus' size as the value of rsaEncryption.
    return tlv(SEQUENCE, tlv(OBJECT_IDENTIFIER, _RSA_ENCRYPTION), tlv(SET, integer(bits)))


def _ec(curve: str) -> bytes:
    named = tlv(OBJECT_IDENTIFIER, bytes.fromhex(curve))
    return tlv(SEQUENCE, tlv(OBJECT_IDENTIFIER, _EC_PUBLIC_KEY), tlv(SET, named))


_KEYS = {
    KeyType.RSA_2048: _rsa(2048),
    KeyType.RSA_3072: _rsa(3072),
    KeyType.RSA_4096: _rsa(4096),
    KeyType.ECDSA_P256: _ec("2a8648ce3d030107"),  # 1.2.840.10045.3.1.7
    KeyType.ECDSA_P384: _ec("2b81040022"),  # 1.3.132.0.34
}


def csr_attributes(*, key_types: Iterable[KeyType], link: bool) -> bytes | None:
    """CsrAttrs in DER; None where there is nothing that a request should have beside its key.

    Args:
        key_types: the least sizes of the kinds of key that are taken; none: all kinds.
        link: whether the request must be linked to its connection (RFC 7030, section 3.5).
    """
    wanted = set(key_types)
    least = [
        kind
        for kind in KeyType
        if kind in wanted and not any(kind.at_least(other) for other in wanted - {kind})
    ]
    attributes = [_KEYS[kind] for kind in least]
    if link:
        attributes.insert(0, tlv(OBJECT_IDENTIFIER, _CHALLENGE_PASSWORD))
    return tlv(SEQUENCE, *attributes) if attributes else None
