"""Ports that are known before anybody listens there, or stay known while nobody does.

A port that was bound once to learn it, and one whose owner is away, is free: whoever asks for any
port may get it meanwhile, in a test beside this one. So these are of others.
"""

from __future__ import annotations

import os
import random
import socket
from itertools import cycle
from typing import Final

__all__ = ["free_port"]

# Where a port that is asked for as port 0 never is, on Linux or macOS.
_PORTS: Final = range(20_000, 30_000)
# Each of pytest-xdist's workers has its own of them.
_MOST_WORKERS: Final = 16
_WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_OURS: Final = _PORTS[_WORKER % _MOST_WORKERS :: _MOST_WORKERS]
# Another run of the tests on this machine begins elsewhere.
_next = cycle(random.sample(_OURS, len(_OURS)))


def free_port() -> int:
    """A port that nobody has now, and that nobody gets by chance."""
    while True:
        port = next(_next)
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
