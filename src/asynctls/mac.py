"""The HMAC layer's ground: tag, verify, derive; session frames and the ledger's chain stand on it.

HMAC-SHA-256 (RFC 2104, FIPS 198-1) by the standard library, whose one-shot ``hmac.digest`` goes
straight to OpenSSL, or by `cryptography` where one key has many messages, and HKDF-SHA-256
(RFC 5869), of which extracting is one such HMAC.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

__all__ = ["TAG_BYTES", "Secret", "expand", "extract", "keyed", "sha256", "tag", "verify"]

TAG_BYTES = 32
"""The length of a tag, of SHA-256's output, and of every key here."""

_LONGEST_BYTES = 255 * TAG_BYTES

_digest = hmac.digest
_compare = hmac.compare_digest


class Secret:
    """Secret bytes that no log, ``repr`` or error message can show by accident."""

    __slots__ = ("_bytes",)

    def __init__(self, secret: bytes) -> None:
        self._bytes = bytes(secret)

    @classmethod
    def random(cls, n: int = TAG_BYTES) -> Secret:
        """``n`` bytes from the system's random source."""
        return cls(os.urandom(n))

    def reveal(self) -> bytes:
        """The bytes themselves; the one place to look for when asking who sees a secret."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._bytes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return _compare(self._bytes, other._bytes)

    def __hash__(self) -> int:
        return hash((Secret, self._bytes))

    def __repr__(self) -> str:
        return f"Secret(<{len(self._bytes)} bytes>)"


def sha256(message: bytes) -> bytes:
    """SHA-256 of ``message`` (FIPS 180-4), 32 bytes."""
    return hashlib.sha256(message).digest()


def keyed(key: bytes) -> HMAC:
    """HMAC-SHA-256 under ``key`` with no message yet: a copy of it makes one tag.

    For many messages under one key, whose own two blocks are then hashed once: of a short message
    it takes less than half the time.
    """
    return HMAC(key, SHA256())


def tag(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256 of ``message`` under ``key`` (RFC 2104), 32 bytes."""
    return _digest(key, message, "sha256")


def verify(key: bytes, message: bytes, tag: bytes) -> bool:
    """Whether ``tag`` is the HMAC-SHA-256 of ``message`` under ``key``, in constant time."""
    return _compare(_digest(key, message, "sha256"), tag)


def extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract (RFC 5869, section 2.2): a pseudorandom key of 32 bytes.

    An empty ``salt`` means 32 zero bytes, as the RFC has it.
    """
    return _digest(salt or bytes(TAG_BYTES), ikm, "sha256")


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand (RFC 5869, section 2.3): ``length`` bytes bound to ``info``.

    Raises:
        ValueError: ``length`` is not in 1 to 8160 (255 blocks of 32 bytes).
    """
    if not 0 < length <= _LONGEST_BYTES:
        raise ValueError(f"HKDF-SHA-256 gives 1 to {_LONGEST_BYTES} bytes, not {length}")
    return HKDFExpand(SHA256(), length, info).derive(prk)
