"""The cryptographic operations: how many the messages of a run stand for, and how long one takes.

How many is read off the messages that went by, by the rules of `_RULES`; what OpenSSL does inside
cannot be watched. How long is measured with keys of the run, on this machine, apart from it.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from asynctls import mac
from asynctls.costs.report import Operation
from asynctls.costs.words import key_words
from asynctls.pki.keys import KeyType, generate_now
from asynctls.session.keys import derive
from asynctls.session.states import FrameType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from asynctls.costs.report import Conversation, Message
    from asynctls.pki.keys import PrivateKey

__all__ = ["aes_against_rsa", "count", "measured"]

_LEAST_RUNS, _MOST_RUNS = 5, 200
_FOR_S = 0.1
_KEY_GENERATION, _SIGN, _VERIFY = "key_generation", "sign", "verify"
_ECDHE, _AES_GCM, _HKDF, _HMAC = "ecdhe", "aes_gcm", "hkdf", "hmac"
_FRAMES = frozenset(each.name for each in FrameType)
_GCM_NONCE_OCTETS = 12
_AES_256_OCTETS = 32
# RFC 8017, section 7.1.1: the most that RSA 2048 encrypts at once, with OAEP and SHA-256.
_OAEP_OCTETS = 190


def count(conversations: Iterable[Conversation]) -> dict[str, Counter[str]]:
    """How many operations of each kind these conversations stand for, by side."""
    counts: dict[str, Counter[str]] = {}
    for conversation in conversations:
        for message in conversation.messages:
            for operation, side, n in _operations(conversation, message):
                counts.setdefault(operation, Counter())[side] += n
    return counts


def _operations(conversation: Conversation, message: Message) -> Iterator[tuple[str, str, int]]:
    sender, receiver = message.sender, message.receiver
    match message.name:
        case "ServerKeyExchange" | "CertificateVerify" | "200 /simpleenroll":
            # RFC 5246, sections 7.4.3 and 7.4.8; a certificate, signed by its CA.
            yield _SIGN, sender, 1
            yield _VERIFY, receiver, 1
        case "ClientKeyExchange":
            # RFC 8422, section 5.10: each end has made a key pair, and both the same secret.
            yield _ECDHE, sender, 1
            yield _ECDHE, receiver, 1
        case "Certificate" if conversation.kind != "bootstrap":
            # The leaf's signature and its issuers', up to the root, which is trusted as it is.
            yield _VERIFY, receiver, int(message.fields.get("certificates", "0"))
        case "POST /simpleenroll":
            # A CSR is signed by its own key (RFC 2986, section 3).
            yield _KEY_GENERATION, sender, 1
            yield _SIGN, sender, 1
            yield _VERIFY, receiver, 1
        case "KEY":
            yield _HKDF, sender, 1
            yield _HKDF, receiver, 1
        case name if name.startswith("200 /"):
            # CA certificates and CRLs count by their signature, whoever brought them.
            yield _VERIFY, receiver, 1
    if conversation.kind == "session" and message.name in _FRAMES:
        yield _HMAC, sender, message.alike
        yield _HMAC, receiver, message.alike
    if message.encrypted:
        yield _AES_GCM, sender, message.records
        yield _AES_GCM, receiver, message.records


@dataclass(frozen=True, slots=True)
class _Timed:
    words: str
    seconds: float


def measured(runs: Mapping[str, Sequence[Conversation]]) -> tuple[Operation, ...]:
    """Every operation, counted and timed; blocks for a second or two.

    Args:
        runs: the conversations of one run, by the kind of its keys.
    """
    counts = {key_type: count(run) for key_type, run in runs.items()}
    found = []
    for key_type, of_kind in counts.items():
        algorithm = key_type.partition("-")[0]
        for name, timed in _asymmetric(KeyType(key_type)).items():
            found.append(
                Operation(
                    name=f"{algorithm}_{name}",
                    words=timed.words,
                    seconds=timed.seconds,
                    counts={key_type: dict(of_kind.get(name, {}))},
                )
            )
    frame, record = _typical(next(iter(runs.values())))
    for name, timed in _symmetric(frame=frame, record=record).items():
        found.append(
            Operation(
                name=name,
                words=timed.words,
                seconds=timed.seconds,
                counts={each: dict(of[name]) for each, of in counts.items() if name in of},
            )
        )
    return tuple(found)


def _typical(run: Sequence[Conversation]) -> tuple[int, int]:
    """The mean length of what was tagged and of what was encrypted in a run, in bytes."""
    encrypted = [each for one in run for each in one.messages if each.encrypted]
    records = sum(each.records for each in encrypted)
    octets = sum(each.octets for each in encrypted)
    frames = [each for each in encrypted if each.name in _FRAMES]
    return (
        sum(each.octets for each in frames) // max(1, sum(each.alike for each in frames)),
        octets // max(1, records),
    )


def _asymmetric(key_type: KeyType) -> dict[str, _Timed]:
    words = key_words(key_type)
    key = generate_now(key_type)
    signed = os.urandom(256)
    sign, verify = _signing(key, signed)
    return {
        _KEY_GENERATION: _Timed(
            f"making an {words} key pair", _time(lambda: generate_now(key_type))
        ),
        _SIGN: _Timed(f"signing with {words}", _time(sign)),
        _VERIFY: _Timed(f"verifying an {words} signature", _time(verify)),
    }


def _signing(key: PrivateKey, signed: bytes) -> tuple[Callable[[], object], Callable[[], object]]:
    if isinstance(key, rsa.RSAPrivateKey):
        rules = padding.PKCS1v15(), hashes.SHA256()
        signature, public = key.sign(signed, *rules), key.public_key()
        return (
            lambda: key.sign(signed, *rules),
            lambda: public.verify(signature, signed, *rules),
        )
    algorithm = ec.ECDSA(hashes.SHA256())
    made, point = key.sign(signed, algorithm), key.public_key()
    return (
        lambda: key.sign(signed, algorithm),
        lambda: point.verify(made, signed, algorithm),
    )


def _symmetric(*, frame: int, record: int) -> dict[str, _Timed]:
    peer = x25519.X25519PrivateKey.generate().public_key()
    aes, nonce, plaintext = _aes(record)
    key, content = os.urandom(mac.TAG_BYTES), os.urandom(frame)
    secret, binding = mac.Secret.random(), os.urandom(32)
    return {
        _ECDHE: _Timed(
            "ECDHE with X25519: a key pair for once, and the shared secret",
            _time(lambda: x25519.X25519PrivateKey.generate().exchange(peer)),
        ),
        _AES_GCM: _Timed(
            f"AES-256-GCM over a record of {record} bytes",
            _time(lambda: aes.encrypt(nonce, plaintext, None)),
        ),
        _HKDF: _Timed(
            "HKDF-SHA-256: both keys of a session out of its secret",
            _time(lambda: derive(secret, binding)),
        ),
        _HMAC: _Timed(
            f"HMAC-SHA-256 over a frame of {frame} bytes",
            _time(lambda: mac.tag(key, content)),
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
    return _time(lambda: key.decrypt(by_rsa, oaep)) / _time(
        lambda: aes.decrypt(nonce, by_aes, None)
    )


def _time(work: Callable[[], object]) -> float:
    """Seconds for one: the median of as many as a tenth of a second allows, within bounds."""
    taken: list[float] = []
    ends = time.perf_counter() + _FOR_S
    while len(taken) < _LEAST_RUNS or (len(taken) < _MOST_RUNS and time.perf_counter() < ends):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return median(taken)
