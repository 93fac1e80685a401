"""Key pairs: which kinds there are, how they are made, kept as text, and judged.

Only five kinds are made and accepted (RSA of three sizes, two NIST curves): each of them works in
TLS 1.2 with every library that the project was tried with, and a short list can be tested whole.
The text form is PKCS#8 (RFC 5208) in PEM; public keys are told apart by their
SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7).
"""

from __future__ import annotations

import asyncio
import hashlib
from enum import StrEnum
from math import gcd, prod
from typing import TYPE_CHECKING, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x448, x25519

from asynctls.errors import CertificateError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    from asynctls.mac import Secret

__all__ = [
    "KeyType",
    "PrivateKey",
    "PublicKey",
    "accepted",
    "generate",
    "generate_now",
    "is_encrypted",
    "judge_public_key",
    "key_from_pem",
    "key_to_pem",
    "key_type_of",
    "spki_sha256",
]

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class KeyType(StrEnum):
    """The kinds of key that are made and accepted, by the words of the configuration."""

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    ECDSA_P256 = "ecdsa-p256"
    ECDSA_P384 = "ecdsa-p384"

    def at_least(self, least: KeyType) -> bool:
        """Whether this is of the same algorithm as `least`, and not smaller."""
        # Of each algorithm, the smaller kinds stand first.
        kinds = list(KeyType)
        same = self.partition("-")[0] == least.partition("-")[0]
        return same and kinds.index(self) >= kinds.index(least)


_RSA_BITS = {KeyType.RSA_2048: 2048, KeyType.RSA_3072: 3072, KeyType.RSA_4096: 4096}
_CURVES: dict[KeyType, ec.EllipticCurve] = {
    KeyType.ECDSA_P256: ec.SECP256R1(),
    KeyType.ECDSA_P384: ec.SECP384R1(),
}
_RSA_TYPES = {bits: key_type for key_type, bits in _RSA_BITS.items()}
_CURVE_TYPES = {curve.name: key_type for key_type, curve in _CURVES.items()}

_LEAST_EXPONENT = 65537
# FIPS 186-5, appendix A.1.1: larger exponents only make every verification dear.
_EXPONENT_BITS = 256
# A modulus with a small factor is a broken generator's (or a provocation): anyone can split it.
_SMALL_PRIMES = prod(n for n in range(2, 752) if all(n % d for d in range(2, int(n**0.5) + 1)))

_ACCEPTED = "RSA of 2048, 3072 or 4096 bits, ECDSA on P-256 or P-384"
_OTHER_KINDS: dict[type, str] = {
    dsa.DSAPublicKey: "a DSA key",
    ed25519.Ed25519PublicKey: "an Ed25519 key",
    ed448.Ed448PublicKey: "an Ed448 key",
    x25519.X25519PublicKey: "an X25519 key",
    x448.X448PublicKey: "an X448 key",
}


def generate_now(key_type: KeyType) -> PrivateKey:
    """Make a key pair here and now; RSA takes 50 ms (2048 bits) to a second (4096).

    Coroutines call `generate`.
    """
    bits = _RSA_BITS.get(key_type)
    if bits is not None:
        return rsa.generate_private_key(public_exponent=_LEAST_EXPONENT, key_size=bits)
    return ec.generate_private_key(_CURVES[key_type])


async def generate(key_type: KeyType) -> PrivateKey:
    """Make a key pair in a thread; the search for primes runs without the interpreter's lock."""
    return await asyncio.to_thread(generate_now, key_type)


def key_to_pem(key: PrivateKey, *, passphrase: Secret | None = None) -> bytes:
    """The private key as PKCS#8 PEM, encrypted when there is a passphrase; a secret all the same.

    Encrypted is PBES2 with AES-256-CBC (RFC 8018), which every program that reads keys can read.
    """
    encryption = (
        serialization.NoEncryption()
        if passphrase is None
        else serialization.BestAvailableEncryption(passphrase.reveal())
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def key_from_pem(pem: bytes, *, passphrase: Secret | None = None) -> PrivateKey:
    """Read a private key from PEM (PKCS#8, or the traditional form that older tools write).

    One that is not encrypted is read with a passphrase as well.

    Raises:
        CertificateError: no key, one that the passphrase does not open, or not of an accepted kind.
    """
    opened_by = passphrase.reveal() if passphrase is not None and is_encrypted(pem) else None
    try:
        key = serialization.load_pem_private_key(pem, password=opened_by)
    except TypeError as error:
        raise CertificateError(
            "the private key is encrypted; give its passphrase, or store it without a passphrase"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        # The cause's text is left out: a parser may quote what it read, and this is a secret.
        if opened_by is not None:
            raise CertificateError(
                "its passphrase is another one, or it is damaged; give the right one"
            ) from error
        raise CertificateError("this is no private key in PEM that can be read") from error
    judge_public_key(key.public_key())
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise CertificateError(f"the private key is of no accepted kind ({_ACCEPTED})")
    return key


def is_encrypted(pem: bytes) -> bool:
    """Whether a private key in PEM is encrypted: PKCS#8, or the older form with a header line."""
    return b"-----BEGIN ENCRYPTED PRIVATE KEY" in pem or b"Proc-Type: 4,ENCRYPTED" in pem


def key_type_of(public_key: PublicKey) -> KeyType:
    """The kind of a public key.

    Raises:
        CertificateError: another size, another curve, or a weak key; in words for its owner.
    """
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        key_type = _CURVE_TYPES.get(public_key.curve.name)
        if key_type is None:
            raise CertificateError(
                f"an ECDSA key on {public_key.curve.name} is not accepted; use {_ACCEPTED}"
            )
        return key_type
    key_type = _RSA_TYPES.get(public_key.key_size)
    if key_type is None:
        raise CertificateError(
            f"an RSA key of {public_key.key_size} bits is not accepted; use {_ACCEPTED}"
        )
    numbers = public_key.public_numbers()
    if numbers.e < _LEAST_EXPONENT or numbers.e % 2 == 0:
        raise CertificateError(
            "the RSA key's public exponent is weak; it must be odd and 65537 or more"
        )
    if numbers.e.bit_length() > _EXPONENT_BITS:
        raise CertificateError("the RSA key's public exponent is too large; use 65537")
    if gcd(numbers.n, _SMALL_PRIMES) != 1:
        raise CertificateError("the RSA key's modulus has a small factor: it protects nothing")
    return key_type


def judge_public_key(public_key: object) -> PublicKey:
    """Give back a public key of any kind as one of the accepted kinds.

    Raises:
        CertificateError: it is of another kind, or weak; in words for its owner.
    """
    key = accepted(public_key)
    key_type_of(key)
    return key


def accepted(public_key: object) -> PublicKey:
    """A public key of any kind as RSA or ECDSA, which `key_type_of` is still to judge.

    Raises:
        CertificateError: it is of another kind; in words for its owner.
    """
    if not isinstance(public_key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        kind = next(
            (words for other, words in _OTHER_KINDS.items() if isinstance(public_key, other)),
            "a key of this kind",
        )
        raise CertificateError(f"{kind} is not accepted; use {_ACCEPTED}")
    return public_key


def spki_sha256(public_key: CertificatePublicKeyTypes) -> bytes:
    """SHA-256 over the SubjectPublicKeyInfo (DER): the same key has the same 32 bytes anywhere."""
    spki = public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).digest()
