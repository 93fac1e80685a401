"""What a client writes to standard output: each message alone on a line, or as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from asynctls.runtime import SideThread

if TYPE_CHECKING:
    from asynctls.admission import Peer

__all__ = ["Printer"]

_STANDARD_OUTPUT = 1
# Whoever reads us may be slow; or nobody does, and we are to end.
_LAST_WRITE_S = 1.0


class Printer:
    """Writes messages one after another, off the loop: whoever reads them may be slow."""

    def __init__(self, *, as_json: bool) -> None:
        """Nothing is written yet.

        Args:
            as_json: one object a line, which also says whose message it is.
        """
        self._text = _json if as_json else _plain
        self._thread = SideThread("standard output")

    async def write(self, message: bytes, *, peer: Peer) -> None:
        """Returns when the message is written, and has said so on standard error.

        Cancelled, it is written all the same, and waited for a moment: its receipt is out.

        Raises:
            OSError: standard output takes no more.
        """
        writing = self._thread.call(partial(_write, self._text(message, peer)))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait((writing,), timeout=_LAST_WRITE_S)
            raise
        sys.stderr.write("Message received\n")
        sys.stderr.flush()


def _write(content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(_STANDARD_OUTPUT, rest) :]


def _plain(message: bytes, peer: Peer) -> bytes:
    del peer
    if os.isatty(_STANDARD_OUTPUT):
        # Whoever sent it is authenticated, but that makes no terminal escape harmless.
        text = message.decode("utf-8", "backslashreplace")
        shown = (c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
        message = "".join(shown).encode()
    return message + b"\n"


def _json(message: bytes, peer: Peer) -> bytes:
    received = {
        "message": message.decode("utf-8", "backslashreplace"),
        "peer": peer.name,
        "serial": peer.serial,
    }
    # JSON escapes some control characters only: not those of 8 bits, which terminals obey as well.
    text = msgspec.json.encode(received).decode()
    return ("".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text) + "\n").encode()
