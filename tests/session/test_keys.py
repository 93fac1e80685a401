"""The key schedule binds to everything that both ends must see alike."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from asynctls.mac import Secret
from asynctls.session.keys import binding, derive

FIELDS = {"client_certificate": b"client", "server_certificate": b"server", "tls_unique": b"u"}


def test_the_schedule_is_the_one_in_the_protocol_s_text() -> None:
    bound = hashlib.sha256(b"asynctls/1 binding\0\0\0\6client\0\0\0\6server\0\0\0\1u").digest()
    prk = hmac.digest(bytes(32), b"s" * 32, "sha256")
    keys = derive(Secret(b"s" * 32), bound)
    assert binding(**FIELDS) == bound
    for key, label in ((keys.client, b"asynctls/1 client"), (keys.server, b"asynctls/1 server")):
        assert key.reveal() == hmac.digest(prk, label + bound + b"\x01", "sha256")


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_counts(field: str) -> None:
    assert binding(**{**FIELDS, field: b"another"}) != binding(**FIELDS)


def test_fields_cannot_run_into_one_another() -> None:
    one = binding(client_certificate=b"ab", server_certificate=b"c", tls_unique=b"")
    other = binding(client_certificate=b"a", server_certificate=b"bc", tls_unique=b"")
    assert one != other


def test_keys_hide_themselves() -> None:
    keys = derive(Secret(b"s" * 32), bytes(32))
    assert repr(keys) == "Keys(client=Secret(<32 bytes>), server=Secret(<32 bytes>))"
