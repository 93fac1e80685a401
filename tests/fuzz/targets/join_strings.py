"""Join strings (`enrolment.join_string`): one meaning each, and a secret that is never quoted."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from asynctls.enrolment.join_string import JoinString
from asynctls.errors import JoinStringError
from asynctls.mac import Secret
from tests.fuzz.texts import text_of

_PIN: Final = "ab" * 32


def run(data: bytes) -> bool:
    """A text, as it stands in a file, an option or the environment."""
    text = text_of(data)
    try:
        read = JoinString.parse(text)
    except JoinStringError as error:
        assert str(error).isprintable()
        secret = text.partition("@")[0].rpartition(":")[2]
        assert len(secret) < 16 or secret not in str(error), "an error quotes a secret"
        return False
    assert JoinString.parse(read.format()) == read
    assert len(read.root_sha256) == 32
    assert read.address.port
    another = replace(read, secret=Secret(b"another"))
    assert str(read) == str(another), "the secret shows"
    assert repr(read).replace(repr(read.secret), "") == repr(another).replace(
        "Secret(<7 bytes>)", ""
    )
    return True


def seeds() -> dict[str, bytes]:
    """Such as 'asynctls ttp token' prints, and what people make of them."""
    made = {
        "name": f"est://id:c2VjcmV0LXNlY3JldA@127.0.0.1:8440?name=server#sha256={_PIN}",
        "no-text": "",
        "ipv6": f"est://id:secret-secret@[::1]:8440#sha256={_PIN}\n",
        "escapes": f"est://i%20d:%C3%BC%3A%40@ttp.example:1?name=spiffe://td/x%25#sha256={_PIN}",
        "no-pin": "est://id:secret@127.0.0.1:8440?name=server",
        "no-port": f"est://id:secret@127.0.0.1#sha256={_PIN}",
        "no-utf8": f"est://id:%FF@127.0.0.1:8440#sha256={_PIN}",
        "no-scheme": f"https://id:secret@127.0.0.1:8440#sha256={_PIN}",
        "no-other-query": f"est://id:secret@127.0.0.1:8440?nam=server#sha256={_PIN}",
        "no-zero-port": f"est://id:secret@127.0.0.1:0#sha256={_PIN}",
    }
    return {name: text.encode() for name, text in made.items()}
