"""A private key on its way to the other TTPs of one ledger: sealed inside a row of it.

AES-256-GCM (NIST SP 800-38D) under a key that is derived from the ledger's key, which every TTP of
the ledger has and its database has not, and from the passphrase, where there is one. The CA's key
identifier is authenticated with it: a sealed key cannot be put into another CA's row.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from asynctls import mac
from asynctls.errors import CertificateError
from asynctls.pki.keys import key_from_pem, key_to_pem

if TYPE_CHECKING:
    from asynctls.mac import Secret
    from asynctls.pki.keys import PrivateKey
    from asynctls.ttp.transactions import Transaction

__all__ = ["key_for", "key_of", "mark", "seal", "unseal"]

# What the ledger's key is derived for (HKDF's info, RFC 5869, section 3.2).
_PURPOSE: Final = b"asynctls ledger: sealed CA keys"
_MARK: Final = b"asynctls: which key seals"
_NONCE_BYTES = 12


def key_of(transaction: Transaction, passphrase: Secret | None) -> bytes:
    """The key that seals, of all TTPs with this ledger's key and this passphrase."""
    return key_for(transaction.derived_key(_PURPOSE), passphrase)


def key_for(derived: Secret, passphrase: Secret | None) -> bytes:
    """As :func:`key_of`, from what the ledger's key gives."""
    return mac.extract(b"" if passphrase is None else passphrase.reveal(), derived.reveal())


def mark(sealing_key: bytes) -> str:
    """What tells two such keys apart; useless to whoever has not got the ledger's key."""
    return mac.tag(sealing_key, _MARK).hex()


def seal(key: PrivateKey, sealing_key: bytes, key_id: str) -> str:
    """The private key of the CA ``key_id``, sealed, as text."""
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(sealing_key).encrypt(nonce, key_to_pem(key), key_id.encode())
    return base64.b64encode(nonce + sealed).decode()


def unseal(text: str, sealing_key: bytes, key_id: str) -> PrivateKey:
    """What :func:`seal` sealed.

    Raises:
        CertificateError: it was sealed by another key, for another CA, or altered since.
    """
    try:
        sealed = base64.b64decode(text, validate=True)
        pem = AESGCM(sealing_key).decrypt(
            sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], key_id.encode()
        )
    except (ValueError, InvalidTag) as error:
        raise CertificateError("its sealed key does not open") from error
    return key_from_pem(pem)
