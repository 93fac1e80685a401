"""A request and a response as values (RFC 9110, section 6), and the stream that carries them."""

from __future__ import annotations

from typing import Protocol

import msgspec

__all__ = ["Headers", "Request", "Response", "Stream"]

Headers = tuple[tuple[str, str], ...]


class Stream(Protocol):
    """What a connection must offer; a ``tls.Stream`` does."""

    async def read(self, n: int, /) -> bytes:
        """At most ``n`` bytes; ``b""`` once the other side has said that it is done."""

    def write(self, data: bytes, /) -> object:
        """Queues bytes for the other side."""

    async def drain(self) -> None:
        """Returns when the queue is short enough to go on writing."""

    def abort(self) -> None:
        """Closes at once; what is queued is dropped."""


def _find(headers: Headers, name: str) -> str | None:
    lowered = name.lower()
    found = [value for key, value in headers if key.lower() == lowered]
    return ", ".join(found) if found else None


class Request(msgspec.Struct, frozen=True):
    """One request.

    Attributes:
        method: ``GET``, ``POST`` …; a server's handler sees HEAD as GET.
        target: The request target as it was sent (RFC 9112, section 3.2).
        headers: Names and values, in order.
        body: The whole body.
    """

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""

    def __repr__(self) -> str:
        # Authorization is among the headers, and a CSR is nobody's business in a log.
        return f"Request(method={self.method!r}, target={self.target!r})"

    @property
    def path(self) -> str:
        """The target without its query; of its absolute form (RFC 9112, 3.2.2) the path alone."""
        target = self.target.partition("?")[0]
        if target.startswith(("http://", "https://")):
            return "/" + target.partition("://")[2].partition("/")[2]
        return target

    def header(self, name: str) -> str | None:
        """The value of a header field, several of one name joined by commas (RFC 9110, 5.3)."""
        return _find(self.headers, name)

    def holds(self, tag: str) -> bool:
        """Whether whoever asks has what has this entity tag (If-None-Match: RFC 9110, 13.1.2)."""
        held = (self.header("If-None-Match") or "").split(",")
        return not {each.strip().removeprefix("W/") for each in held}.isdisjoint((tag, "*"))


class Response(msgspec.Struct, frozen=True):
    """One response; Content-Length, Date and Connection are added where it is sent."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    def __repr__(self) -> str:
        return f"Response(status={self.status!r}, headers={self.headers!r})"

    def header(self, name: str) -> str | None:
        """The value of a header field, several of one name joined by commas (RFC 9110, 5.3)."""
        return _find(self.headers, name)

    @classmethod
    def text(cls, status: int, words: str, *, headers: Headers = ()) -> Response:
        """A line for people."""
        fields = (("Content-Type", "text/plain; charset=utf-8"), *headers)
        return cls(status, fields, f"{words}\n".encode())
