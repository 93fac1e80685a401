"""The cryptographic operations: how many the messages of a run stand for, and how long one takes.

How many is read off the messages that went by, since each needs its own by its RFC; what OpenSSL
does inside cannot be watched. How long is measured apart, with keys of the same kinds.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from asynctls import mac
from asynctls.costs.fields import SIGNED_WITH
from asynctls.costs.frames import RECORD_OVERHEAD
from asynctls.costs.report import Group, Operation
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.timing import seconds_for_one, signing
from asynctls.session.keys import derive
from asynctls.session.states import FrameType
from asynctls.words import key_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from asynctls.costs.report import Conversation, Message

__all__ = ["aes_against_rsa", "count", "timed"]

_KEY_GENERATION, _SIGN, _VERIFY = "_key_generation", "_sign", "_verify"
_ECDHE, _AES_GCM, _HKDF, _HMAC = "ecdhe", "aes_gcm", "hkdf", "hmac"
_FRAMES = frozenset(each.name for each in FrameType)
_GCM_NONCE_OCTETS = 12
_AES_256_OCTETS = 32
# RFC 8017, section 7.1.1: the most that RSA 2048 encrypts at once, with OAEP and SHA-256.
_OAEP_OCTETS = 190


def count(conversations: Iterable[Conversation]) -> dict[str, Counter[str]]:
    """How many operations of each name these conversations stand for, by side."""
    counts: dict[str, Counter[str]] = {}
    for conversation in conversations:
        for message in conversation.messages:
            for operation, side, n in _operations(conversation, message):
                counts.setdefault(operation, Counter())[side] += n
    return counts


def _operations(conversation: Conversation, message: Message) -> Iterator[tuple[str, str, int]]:
    """What a message takes: the name of each operation, who does it, and how often."""
    verified = conversation.kind != "bootstrap"
    yield from _of_the_handshake(message, verified=verified)
    yield from _of_the_enrolment(message, conversation.key_type.partition("-")[0])
    ends = message.sender, message.receiver
    for side in ends:
        if conversation.kind == "session" and message.name in _FRAMES:
            yield _HMAC, side, message.alike
        if message.name == FrameType.KEY.name:
            yield _HKDF, side, 1
        if message.encrypted:
            yield _AES_GCM, side, message.records


def _of_the_handshake(message: Message, *, verified: bool) -> Iterator[tuple[str, str, int]]:
    match message.name:
        case "ServerKeyExchange" | "CertificateVerify":
            # RFC 5246, sections 7.4.3 and 7.4.8.
            algorithm = "ecdsa" if "ECDSA" in message.fields.get("algorithm", "") else "rsa"
            yield f"{algorithm}{_SIGN}", message.sender, 1
            yield f"{algorithm}{_VERIFY}", message.receiver, 1
        case "ClientKeyExchange":
            # RFC 8422, section 5.10: each end has made a key pair, and both the same secret.
            yield _ECDHE, message.sender, 1
            yield _ECDHE, message.receiver, 1
        case "Certificate" if verified and SIGNED_WITH in message.fields:
            # The leaf's signature and its issuers', up to the root.
            for algorithm in message.fields[SIGNED_WITH].split(", "):
                yield f"{algorithm.lower()}{_VERIFY}", message.receiver, 1


def _of_the_enrolment(message: Message, algorithm: str) -> Iterator[tuple[str, str, int]]:
    if message.group is Group.CSR:
        # It is signed by its own key, to prove that this is there (RFC 2986, section 3).
        yield f"{algorithm}{_KEY_GENERATION}", message.sender, 1
    if message.group in (Group.CSR, Group.CERTIFICATE):
        yield f"{algorithm}{_SIGN}", message.sender, 1
        yield f"{algorithm}{_VERIFY}", message.receiver, 1
    if message.group in (Group.CA_CHAIN, Group.CRLS) and message.sender == "ttp":
        # Signed some time before; it counts by its signature, whoever brought it.
        yield f"{algorithm}{_VERIFY}", message.receiver, 1


@dataclass(frozen=True, slots=True)
class _Timed:
    words: str
    seconds: float


def timed(
    runs: Mapping[str, Sequence[Conversation]], *, kinds: Iterable[KeyType]
) -> tuple[Operation, ...]:
    """Every operation, counted and timed; blocks for a second or two.

    Args:
        runs: the conversations of one run, by the kind of its keys.
        kinds: of the keys to time signatures with, one for each algorithm.
    """
    found: dict[str, _Timed] = {}
    for kind in kinds:
        found |= _asymmetric(kind)
    found |= _symmetric(*_typical(next(iter(runs.values()))))
    counts = {key_type: count(run) for key_type, run in runs.items()}
    return tuple(
        Operation(
            name=name,
            words=one.words,
            seconds=one.seconds,
            counts={
                str(key_type): dict(counted[name])
                for key_type, counted in counts.items()
                if name in counted
            },
        )
        for name, one in found.items()
    )


def _typical(run: Sequence[Conversation]) -> tuple[int, int]:
    """The mean length of what was tagged and of what was encrypted in a run, in bytes."""
    encrypted = [each for one in run for each in one.messages if each.encrypted]
    frames = [each for each in encrypted if each.name in _FRAMES]
    return (
        _plaintext(frames) // max(1, sum(each.alike for each in frames)),
        _plaintext(encrypted) // max(1, sum(each.records for each in encrypted)),
    )


def _plaintext(messages: Iterable[Message]) -> int:
    return sum(each.octets - each.records * RECORD_OVERHEAD for each in messages)


def _asymmetric(key_type: KeyType) -> dict[str, _Timed]:
    words, algorithm = key_words(key_type), key_type.partition("-")[0]
    key = generate_now(key_type)
    signed = os.urandom(256)
    sign, verify = signing(key, signed)
    return {
        f"{algorithm}{_KEY_GENERATION}": _Timed(
            f"making an {words} key pair", seconds_for_one(lambda: generate_now(key_type))
        ),
        f"{algorithm}{_SIGN}": _Timed(f"signing with {words}", seconds_for_one(sign)),
        f"{algorithm}{_VERIFY}": _Timed(f"verifying an {words} signature", seconds_for_one(verify)),
    }


def _symmetric(frame: int, record: int) -> dict[str, _Timed]:
    peer = x25519.X25519PrivateKey.generate().public_key()
    aes, nonce, plaintext = _aes(record)
    key, content = os.urandom(mac.TAG_BYTES), os.urandom(frame)
    secret, binding = mac.Secret.random(), os.urandom(32)
    return {
        _ECDHE: _Timed(
            "ECDHE with X25519: a key pair for once, and the shared secret",
            seconds_for_one(lambda: x25519.X25519PrivateKey.generate().exchange(peer)),
        ),
        _AES_GCM: _Timed(
            f"AES-256-GCM over a record of {record} bytes",
            seconds_for_one(lambda: aes.encrypt(nonce, plaintext, None)),
        ),
        _HKDF: _Timed(
            "HKDF-SHA-256: both keys of a session out of its secret",
            seconds_for_one(lambda: derive(secret, binding)),
        ),
        _HMAC: _Timed(
            f"HMAC-SHA-256 over a frame of {frame} bytes",
            seconds_for_one(lambda: mac.tag(key, content)),
        ),
    }


def _aes(octets: int) -> tuple[AESGCM, bytes, bytes]:
    key = AESGCM.generate_key(_AES_256_OCTETS * 8)
    return AESGCM(key), os.urandom(_GCM_NONCE_OCTETS), os.urandom(octets)


def aes_against_rsa() -> float:
    """How many times longer RSA 2048 takes to decrypt 190 bytes (OAEP) than AES-256-GCM; blocks."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    aes, nonce, plaintext = _aes(_OAEP_OCTETS)
    by_rsa = key.public_key().encrypt(plaintext, oaep)
    by_aes = aes.encrypt(nonce, plaintext, None)
    return seconds_for_one(lambda: key.decrypt(by_rsa, oaep)) / seconds_for_one(
        lambda: aes.decrypt(nonce, by_aes, None)
    )
