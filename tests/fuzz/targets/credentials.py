"""What a request enrols by (`ttp.est`, `ttp.tokens`): a token's id and secret, or a refusal."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from asynctls.http import Request
from asynctls.ttp.est import _credential, _posted, _refusal, _RefusedError
from asynctls.ttp.tokens import is_secret_of

if TYPE_CHECKING:
    from asynctls.errors import EnrolmentRefusedError


def run(data: bytes) -> bool:
    """A value of Authorization; the credential in one; and a Content-Type with a body behind it."""
    basic = b"Basic " + base64.b64encode(data)
    taken = [_taken_as_credential(value) for value in (data, basic)]
    media_type, _, body = data.partition(b"\0")
    return any([*taken, _taken_as_request(media_type, body)])


def _taken_as_credential(value: bytes) -> bool:
    request = Request("POST", "/", (("Authorization", value.decode("latin-1")),))
    try:
        token_id, secret = _credential(request)
    except _RefusedError as refused:
        _check(refused.error, status=401)
        return False
    assert ":" not in token_id
    assert not is_secret_of(None, secret)
    again = base64.b64encode(f"{token_id}:{secret}".encode()).decode()
    assert _credential(Request("POST", "/", (("authorization", f"bAsIc {again}"),))) == (
        token_id,
        secret,
    )
    return True


def _taken_as_request(media_type: bytes, body: bytes) -> bool:
    headers = (("Content-Type", media_type.decode("latin-1")),)
    try:
        _posted(Request("POST", "/", headers, body))
    except _RefusedError as refused:
        _check(refused.error)
        return False
    return True


def _check(error: EnrolmentRefusedError, *, status: int | None = None) -> None:
    answer = _refusal(error)
    assert answer.status == (status or answer.status)
    assert 400 <= answer.status < 500
    assert answer.body.count(b"\n") == 1, "a refusal is one line"


def seeds() -> dict[str, bytes]:
    """As curl sends them, and as nobody should."""
    return {
        "basic": b"Basic " + base64.b64encode(b"0123456789ab:secret"),
        "credential": "id:zwölf:Euro".encode(),
        "request": b"application/pkcs10; charset=x\0" + base64.b64encode(b"0\0"),
        "no-scheme": b"Bearer " + base64.b64encode(b"id-secret"),
        "no-colon": base64.b64encode(b"id"),
        "no-utf8": b"\xff\xfe",
        "no-type": b"text/html\0x",
        "no-base64": b"application/pkcs10\0x!",
    }
