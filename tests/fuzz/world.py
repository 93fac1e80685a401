"""A CA whose keys are known to everybody, so that what was mangled can be signed anew.

The same in each process: what the corpus holds was issued by it, in another one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from asynctls.pki.profiles import Issuer, Profile, issue, make_issuing, make_responder, make_root

if TYPE_CHECKING:
    from cryptography import x509

__all__ = [
    "HOLDER_KEY",
    "ISSUING",
    "ISSUING_KEY",
    "NOW",
    "ROOT",
    "ROOT_KEY",
    "body_of",
    "leaf",
    "responder",
    "signed_anew",
    "tlv",
]

NOW: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
_DAY: Final = timedelta(days=1)

ROOT_KEY, ISSUING_KEY, RESPONDER_KEY, HOLDER_KEY = (
    ec.derive_private_key(number, ec.SECP256R1()) for number in range(7, 11)
)
ROOT: Final = Issuer(make_root(ROOT_KEY, lifetime=3652 * _DAY, now=NOW), ROOT_KEY)
ISSUING: Final = Issuer(
    make_issuing(ISSUING_KEY.public_key(), issuer=ROOT, lifetime=730 * _DAY, now=NOW), ISSUING_KEY
)

_SEQUENCE, _BIT_STRING = 0x30, 0x03
# ecdsa-with-SHA256 and -SHA384 (RFC 5758, section 3.2), as AlgorithmIdentifiers.
_ALGORITHMS: Final[dict[type[hashes.HashAlgorithm], bytes]] = {
    hashes.SHA256: bytes.fromhex("300a06082a8648ce3d040302"),
    hashes.SHA384: bytes.fromhex("300a06082a8648ce3d040303"),
}


def leaf(*sans: str, profile: Profile = Profile.PEER) -> x509.Certificate:
    """A certificate for the holder's key."""
    return issue(
        profile,
        issuer=ISSUING,
        public_key=HOLDER_KEY.public_key(),
        sans=sans,
        lifetime=_DAY,
        now=NOW,
    )


def responder() -> x509.Certificate:
    """The OCSP responder's certificate."""
    return make_responder(RESPONDER_KEY.public_key(), issuer=ISSUING, lifetime=365 * _DAY, now=NOW)


def tlv(tag: int, content: bytes) -> bytes:
    """One element of DER (X.690, section 8.1)."""
    if len(content) < 0x80:
        return bytes((tag, len(content))) + content
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + content


def body_of(der: bytes) -> bytes:
    """What was signed: the first element within a certificate, a request or a CRL."""
    _, at, _ = _element(der)
    _, content_at, length = _element(der[at:])
    return der[at : at + content_at + length]


def signed_anew(
    body: bytes, key: ec.EllipticCurvePrivateKey, algorithm: type[hashes.HashAlgorithm]
) -> bytes:
    """A certificate, a request or a CRL of that body, whatever it is, with a signature that holds.

    So what lies behind the check of a signature is reached by mangled bodies as well.
    """
    signature = tlv(_BIT_STRING, b"\0" + key.sign(body, ec.ECDSA(algorithm())))
    return tlv(_SEQUENCE, body + _ALGORITHMS[algorithm] + signature)


def _element(der: bytes) -> tuple[int, int, int]:
    """Tag, where the content begins, and its length."""
    if der[1] < 0x80:
        return der[0], 2, der[1]
    width = der[1] & 0x7F
    return der[0], 2 + width, int.from_bytes(der[2 : 2 + width], "big")
