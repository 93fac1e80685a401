"""Sockets handed over (`runtime.inherited`): what the environment says of them, or a fault."""

from __future__ import annotations

from typing import Final

from asynctls.errors import ConfigError
from asynctls.runtime.inherited import InheritedSockets
from tests.fuzz.texts import text_of

_PID: Final = 7
# No process has as many descriptors: nothing is touched.
_FIRST: Final = 1 << 30


def run(data: bytes) -> bool:
    """The count, the names and the process's number, between zeros."""
    count, names, pid = (*map(text_of, data.split(b"\0", 2)), "", "", "")[:3]
    environ = {"LISTEN_FDS": count, "LISTEN_FDNAMES": names, "LISTEN_PID": pid or str(_PID)}
    try:
        handed_over = InheritedSockets.taken_from(environ, pid=_PID, first=_FIRST)
        handed_over.check_all_taken()
    except ConfigError as error:
        assert str(error)
        return False
    finally:
        assert not environ, "a child would take them for its own"
    return True


def seeds() -> dict[str, bytes]:
    """For this process, for another one, and no number."""
    return {
        "none": b"0\0",
        "another": b"2\0listen:metrics_listen" + b"\0" + b"8",
        "no-descriptor": b"1\0listen",
        "no-number": "٣\0listen".encode(),
        "no-such-number": b"9" * 5000,
    }
