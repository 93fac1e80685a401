"""The session's key schedule: one secret from the client, one HMAC key for each direction.

HKDF-SHA-256 (RFC 5869), bound to both certificates and to the TLS connection by its tls-unique
(RFC 5929), as docs/session-protocol.md says. A relay that ends TLS with certificates of its own
makes the two ends derive different keys, and so is found out by the first tag.
"""

from __future__ import annotations

import msgspec

from asynctls import mac
from asynctls.mac import Secret

__all__ = ["SECRET_BYTES", "Keys", "binding", "derive"]

SECRET_BYTES = 32
"""The length of the client's secret."""

_NO_SALT = bytes(32)


class Keys(msgspec.Struct, frozen=True):
    """The two keys of a session; each is named by the one who seals with it."""

    client: Secret
    server: Secret


def _u32len(field: bytes) -> bytes:
    return len(field).to_bytes(4, "big") + field


def binding(*, client_certificate: bytes, server_certificate: bytes, tls_unique: bytes) -> bytes:
    """What both ends must see alike: 32 bytes over both certificates (DER) and ``tls_unique``."""
    return mac.sha256(
        b"asynctls/1 binding"
        + _u32len(client_certificate)
        + _u32len(server_certificate)
        + _u32len(tls_unique)
    )


def derive(secret: Secret, binding: bytes) -> Keys:
    """The session's keys out of the client's ``secret`` and the ``binding``."""
    prk = mac.extract(_NO_SALT, secret.reveal())
    return Keys(
        client=Secret(mac.expand(prk, b"asynctls/1 client" + binding, mac.TAG_BYTES)),
        server=Secret(mac.expand(prk, b"asynctls/1 server" + binding, mac.TAG_BYTES)),
    )
