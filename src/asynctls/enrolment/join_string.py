"""The join string: all that a role must be given to enrol, in one line that fits a URI (RFC 3986).

``est://TOKEN-ID:SECRET@HOST:PORT?name=server#sha256=<fingerprint of the root, 64 hex digits>``

Token and secret are the user and password of HTTP Basic (RFC 7617), so that they also serve in
curl. The name is for people only; what the token leads to is written in the TTP's ledger.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

import msgspec

from asynctls.config import Address
from asynctls.errors import JoinStringError
from asynctls.mac import Secret

__all__ = ["JoinString"]

_LARGEST = 4096
_SCHEME = "est://"
# Characters that stand for themselves in RFC 3986's userinfo and query, and escapes.
_PART = re.compile(r"(?:[A-Za-z0-9._~!$'()*+,;=-]|%[0-9A-Fa-f]{2})+")
_NAME = re.compile(r"(?:[A-Za-z0-9._~!$'()*+,;:@/?-]|%[0-9A-Fa-f]{2})+")
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{64}")


class JoinString(msgspec.Struct, frozen=True):
    """What a join string says; ``repr`` and ``str`` hide the secret, ``format()`` does not.

    Attributes:
        token_id: The one-time token's public half.
        secret: Its secret half, as the text that HTTP Basic sends.
        address: Where the TTP listens.
        name: The name that the token was made for, as a hint for people; None when not said.
        root_sha256: SHA-256 of the root certificate (DER), 32 bytes: the pin.
    """

    token_id: str
    secret: Secret
    address: Address
    name: str | None
    root_sha256: bytes

    @classmethod
    def parse(cls, text: str) -> JoinString:
        """Reads a join string; white space around it is allowed, as files end with a newline.

        Raises:
            JoinStringError: It is none. The message says what is wrong and never quotes the text.
        """
        text = text.strip()
        if len(text) > _LARGEST:
            raise JoinStringError(f"a join string has {_LARGEST} characters at most")
        if not text.startswith(_SCHEME):
            raise JoinStringError(
                "this is no join string: one begins with est:// ('asynctls ttp token' prints them)"
            )
        rest, hash_sign, fragment = text.removeprefix(_SCHEME).partition("#")
        if not hash_sign:
            raise JoinStringError(
                "the join string has no #sha256=… at its end; a shell takes # for a comment: "
                "put the string in quotes, or in a file"
            )
        authority, question_mark, query = rest.partition("?")
        user, at_sign, place = authority.rpartition("@")
        token_id, colon, secret = user.partition(":")
        if not at_sign or not colon:
            raise JoinStringError("the join string has no TOKEN-ID:SECRET@ before its address")
        return cls(
            token_id=_decoded(token_id, _PART, "token id"),
            secret=Secret(_decoded(secret, _PART, "secret").encode()),
            address=_address(place),
            name=_name(query) if question_mark else None,
            root_sha256=_fingerprint(fragment),
        )

    def format(self) -> str:
        """The text that ``parse`` reads: a secret."""
        name = "" if self.name is None else f"?name={quote(self.name, safe=':/')}"
        user = quote(self.token_id, safe="")
        password = quote(self.secret.reveal(), safe="")
        return f"{_SCHEME}{user}:{password}@{self.address}{name}#sha256={self.root_sha256.hex()}"

    def __str__(self) -> str:
        return f"token {self.token_id} at {self.address}"


def _decoded(text: str, allowed: re.Pattern[str], what: str) -> str:
    if not allowed.fullmatch(text):
        raise JoinStringError(
            f"the join string's {what} is empty or has a character that must be written as %XX"
        )
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise JoinStringError(f"the join string's {what} is not UTF-8 text") from None
    # RFC 7617, section 2: no control characters; and the first colon ends the user.
    if not decoded.isprintable() or (what == "token id" and ":" in decoded):
        raise JoinStringError(f"the join string's {what} has a character that cannot be sent")
    return decoded


def _address(place: str) -> Address:
    try:
        address = Address.parse(place)
    except ValueError as error:
        raise JoinStringError(f"the join string's address is wrong: {error}") from None
    if address.port == 0:
        raise JoinStringError("the join string's address has port 0, which nothing listens on")
    return address


def _name(query: str) -> str:
    key, equals, value = query.partition("=")
    if key != "name" or not equals:
        raise JoinStringError("the join string has something other than name=… after its ?")
    return _decoded(value, _NAME, "name")


def _fingerprint(fragment: str) -> bytes:
    key, equals, value = fragment.partition("=")
    if key != "sha256" or not equals or not _FINGERPRINT.fullmatch(value):
        raise JoinStringError(
            "the join string does not end with #sha256= and 64 hex digits; is it cut off?"
        )
    return bytes.fromhex(value)
