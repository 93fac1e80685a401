"""A connection whose other end has said all that it will: no socket, and no wait."""

from __future__ import annotations

from tests.fuzz.pieces import cut

__all__ = ["MemoryStream"]


class MemoryStream:
    """What `http.Stream` asks for.

    Args:
        sent: by the other end, until its end.
        how: how it is cut up.
    """

    def __init__(self, sent: bytes, how: bytes = b"") -> None:
        self.written = bytearray()
        self.aborted = False
        self._pieces = [piece for piece in cut(sent, how) if piece]

    async def read(self, n: int, /) -> bytes:
        if not self._pieces:
            return b""
        piece, rest = self._pieces[0][:n], self._pieces[0][n:]
        self._pieces[:1] = [rest] if rest else []
        return piece

    def write(self, data: bytes, /) -> None:
        self.written += data

    async def drain(self) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True
