"""The key pair that waits for its certificate.

It is on disk before the TTP hears of it: whatever crashes on whichever side afterwards, the next
try has the same key, and the same token with the same key gets the same certificate. For another
token it is of no use, so the token's public half stands beside it, bound to the key by its
fingerprint, for two files are never written as one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from asynctls.errors import CertificateError
from asynctls.pki.keys import PrivateKey, key_from_pem, key_to_pem, spki_sha256
from asynctls.state import read_private, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

__all__ = ["find_key_of", "forget_joining_key", "keep_joining_key", "read_joining_key"]

_KEY = "joining-key.pem"
_TOKEN = "joining.json"  # noqa: S105 - a file's name


class _Token(msgspec.Struct, frozen=True, kw_only=True):
    token_id: str
    spki_sha256: str


def read_joining_key(folder: Path, token_id: str) -> PrivateKey | None:
    """The key that was made for this very token, if one was; blocks.

    Raises:
        StateError: It is there and cannot be read, or others can read it.
    """
    try:
        token = msgspec.json.decode(read_private(folder / _TOKEN), type=_Token)
        key = key_from_pem(read_private(folder / _KEY))
    except (FileNotFoundError, CertificateError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    is_ours = token == _Token(token_id=token_id, spki_sha256=_fingerprint(key))
    return key if is_ours else None


def keep_joining_key(folder: Path, key: PrivateKey, token_id: str) -> None:
    """Writes the key and for which token it is; blocks until both are on disk.

    Raises:
        StateError: They cannot be written.
    """
    write_atomically(folder / _KEY, key_to_pem(key))
    token = _Token(token_id=token_id, spki_sha256=_fingerprint(key))
    write_atomically(folder / _TOKEN, msgspec.json.encode(token))


def find_key_of(folder: Path, certificate: x509.Certificate) -> PrivateKey | None:
    """The key that waits here, if ``certificate`` is what it waits for; blocks.

    Raises:
        StateError: It is there and cannot be read, or others can read it.
    """
    try:
        key = key_from_pem(read_private(folder / _KEY))
    except (FileNotFoundError, CertificateError):
        return None
    return key if key.public_key() == certificate.public_key() else None


def forget_joining_key(folder: Path) -> None:
    """The key has its certificate, and the token is used; blocks."""
    (folder / _KEY).unlink(missing_ok=True)
    (folder / _TOKEN).unlink(missing_ok=True)


def _fingerprint(key: PrivateKey) -> str:
    return spki_sha256(key.public_key()).hex()
