"""The sizes in a chunked body (`http.chunks`) against h11's reading of the same."""

from __future__ import annotations

from typing import Final

import h11

from asynctls.http.chunks import ChunkSizes
from tests.fuzz.pieces import cut

_CUTS: Final = 4


def run(data: bytes) -> bool:
    """Four bytes that say how it is cut, and a body."""
    how, body = data[:_CUTS], data[_CUTS:]
    sizes, pieces = ChunkSizes(), ChunkSizes()
    sizes.feed(body)
    for piece in cut(body, how):
        pieces.feed(piece)
    assert sizes.declared == pieces.declared >= 0
    content = _content(body)
    if content is None:
        return False
    assert sizes.declared == content, "a body is larger than it said"
    return True


def _content(body: bytes) -> int | None:
    """How much there is in a whole body; None where h11 wants more, or none of it."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    length = 0
    try:
        while not isinstance(event := server.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                return None
            if isinstance(event, h11.Data):
                length += len(event.data)
    except h11.RemoteProtocolError:
        return None
    return length


def seeds() -> dict[str, bytes]:
    """With extensions, trailers, and what follows."""
    made = {
        "one": b"5\r\nabcde\r\n0\r\n\r\n",
        "extension": b"a;x=y\r\n0123456789\r\n1\r\nb\r\n0\r\nTrailer: ffff\r\n\r\n",
        "following": b"0\r\n\r\nPOST / HTTP/1.1\r\n",
        "zeros": b"00000005\r\nabcde\r\n000\r\n\r\n",
        "no-end": b"fffffffffffff\r\n",
        "no-size": b";\r\n\r\n",
        "no-line": b"5",
    }
    return {name: b"\x01\x02\x02\x40" + body for name, body in made.items()}
