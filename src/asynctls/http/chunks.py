"""How large a chunked body says that it will be (RFC 9112, section 7.1), ahead of its bytes.

h11 tells a chunk's size only by the bytes that have come, so that a body which announces too much
would be waited for until its time is over. This reads the sizes alone, and judges nothing else:
what is malformed is left to h11.
"""

from __future__ import annotations

import re

__all__ = ["ChunkSizes"]

_SIZE = re.compile(rb"[0-9A-Fa-f]{1,20}")


class ChunkSizes:
    """Adds up the sizes in a chunked body's chunk headers.

    Attributes:
        declared: the bytes of content that the headers seen so far announce.
    """

    def __init__(self) -> None:
        """Nothing is seen yet."""
        self.declared = 0
        self._header = bytearray()
        self._skip = 0
        self._done = False

    def feed(self, received: bytes) -> None:
        """Takes the next bytes of the body, as they came."""
        while received and not self._done:
            if self._skip:
                skipped = min(self._skip, len(received))
                self._skip -= skipped
                received = received[skipped:]
                continue
            header, ended, received = received.partition(b"\n")
            self._header += header
            if not ended:
                return
            found = _SIZE.match(self._header)
            size = int(found[0], 16) if found else 0
            self._header.clear()
            self.declared += size
            # The content's end is a CR and a LF; after the last chunk come trailers, or the next
            # request.
            self._skip = size + 2
            self._done = size == 0
