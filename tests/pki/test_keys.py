from __future__ import annotations

import asyncio
import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from asynctls.errors import CertificateError
from asynctls.pki.keys import (
    KeyType,
    generate,
    generate_now,
    judge_public_key,
    key_from_pem,
    key_to_pem,
    key_type_of,
    spki_sha256,
)


@pytest.mark.parametrize("key_type", KeyType)
def test_every_type_is_made_recognised_and_read_back(key_type: KeyType) -> None:
    key = generate_now(key_type)
    assert key_type_of(key.public_key()) is key_type
    pem = key_to_pem(key)
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert key_to_pem(key_from_pem(pem)) == pem


async def test_making_an_rsa_key_leaves_the_loop_free() -> None:
    making = asyncio.create_task(generate(KeyType.RSA_3072))
    turns = 0
    while not making.done():
        await asyncio.sleep(0)
        turns += 1
    assert key_type_of((await making).public_key()) is KeyType.RSA_3072
    assert turns > 20


def test_the_traditional_form_of_older_tools_is_read() -> None:
    key = generate_now(KeyType.ECDSA_P256)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    assert key_to_pem(key_from_pem(pem)) == key_to_pem(key)


def test_an_encrypted_key_is_refused_with_what_to_do() -> None:
    pem = generate_now(KeyType.ECDSA_P256).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(CertificateError, match="without a passphrase"):
        key_from_pem(pem)


def test_an_unreadable_key_is_refused_and_not_quoted() -> None:
    with pytest.raises(CertificateError, match="no private key") as caught:
        key_from_pem(b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize(
    ("public_key", "words"),
    [
        (rsa.generate_private_key(65537, 1024).public_key(), "1024 bits"),
        (rsa.generate_private_key(65537, 2056).public_key(), "2056 bits"),
        (rsa.generate_private_key(3, 2048).public_key(), "exponent is weak"),
        (ec.generate_private_key(ec.SECP521R1()).public_key(), "secp521r1"),
        (ec.generate_private_key(ec.SECP256K1()).public_key(), "secp256k1"),
        (ed25519.Ed25519PrivateKey.generate().public_key(), "Ed25519"),
        (dsa.generate_private_key(1024).public_key(), "DSA"),
        (object(), "this kind"),
    ],
)
def test_a_weak_or_other_key_is_refused_in_words(public_key: object, words: str) -> None:
    with pytest.raises(CertificateError, match=words):
        judge_public_key(public_key)


def test_an_rsa_modulus_that_anybody_can_split_is_refused() -> None:
    modulus = 3 * ((1 << 2046) | 1)
    public_key = rsa.RSAPublicNumbers(65537, modulus).public_key()
    assert public_key.key_size == 2048
    with pytest.raises(CertificateError, match="small factor"):
        judge_public_key(public_key)


def test_an_rsa_exponent_that_only_costs_time_is_refused() -> None:
    numbers = generate_now(KeyType.RSA_2048).public_key().public_numbers()
    assert isinstance(numbers, rsa.RSAPublicNumbers)
    public_key = rsa.RSAPublicNumbers((1 << 300) + 1, numbers.n).public_key()
    with pytest.raises(CertificateError, match="too large"):
        judge_public_key(public_key)


def test_a_key_of_another_kind_is_refused_from_pem_too() -> None:
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(CertificateError, match="Ed25519"):
        key_from_pem(pem)


def test_a_key_has_one_fingerprint_that_is_its_public_parts() -> None:
    key = generate_now(KeyType.ECDSA_P256)
    spki = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert spki_sha256(key_from_pem(key_to_pem(key)).public_key()) == hashlib.sha256(spki).digest()
