"""What a ledger's rows say of tokens and certificates (`ttp.records`), whoever wrote there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from asynctls.errors import LedgerError
from asynctls.ttp.records import _certificate, _token
from asynctls.ttp.schema import readable
from tests.fuzz.texts import text_of

if TYPE_CHECKING:
    from collections.abc import Callable


def run(data: bytes) -> bool:
    """Eight bytes of a date, and a row's body."""
    row = SimpleNamespace(
        token_id="0123456789ab",
        serial="0A",
        name="server",
        body=text_of(data[8:]),
        ends_at=int.from_bytes(data[:8], "big", signed=True),
        revoked_at=None,
        used=0,
        spki_sha256=bytes(32),
        der=b"",
        issuer=None,
    )
    return any([_taken(row, read) for read in (_token, _certificate)])


def _taken(row: Any, read: Callable[[Any], object]) -> bool:
    try:
        with readable():
            read(row)
    except LedgerError as error:
        assert "'asynctls ttp verify'" in str(error)
        return False
    return True


def seeds() -> dict[str, bytes]:
    """Bodies as they are written, a date beyond all calendars, and what is no body."""
    date = (1_800_000_000).to_bytes(8, "big")
    token = b'{"sans":["server"],"profile":"server","lifetime_s":60,"secret_sha256":"%b"}'
    certificate = (
        b'{"sans":["server"],"profile":"peer","lifetime_s":60,"not_before":"2026-01-01T00:00:00Z"}'
    )
    return {
        "token": date + token % (b"ab" * 32),
        "certificate": date + certificate,
        "no-date": b"\x7f" + bytes(7) + token % (b"ab" * 32),
        "no-lifetime": date + certificate.replace(b"60", b"9" * 18),
        "no-depth": date + b'{"x":' + b"[" * 5000,
        "no-text": date + b'{"\xff"}',
    }
