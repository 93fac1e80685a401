"""How much memory the server's processes have, where they are on this machine and can be seen.

By Linux's ``/proc``: who listens on the port, and the resident set of each. A supervised server's
workers all have the listening socket, so all of them count.
"""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Memory", "listeners"]

_PROC = Path("/proc")
_LISTENING = "0A"
_RESIDENT = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)


class Memory:
    """By how much that of some processes has grown since the first look.

    Args:
        processes: their numbers; none: they cannot be seen.
    """

    def __init__(self, processes: tuple[int, ...]) -> None:
        self._processes = processes
        self._looks: list[int] = []

    async def look(self) -> None:
        """Now is when it counts."""
        self._looks.append(await asyncio.to_thread(_resident_bytes, self._processes))

    @property
    def grown_mib(self) -> float:
        """From the first look to the largest, in MiB."""
        return (max(self._looks) - self._looks[0]) / (1 << 20)

    @property
    def words(self) -> str:
        """The same for a person."""
        if not self._processes:
            return "its memory cannot be seen from here"
        return f"its memory grew by {self.grown_mib:.1f} MiB"


def listeners(host: str, port: int) -> tuple[int, ...]:
    """The processes that listen there; blocks.

    Args:
        host: an IP address of this machine.
        port: the port.

    Returns:
        Their numbers; none where they cannot be seen: another user's, another system than Linux.
    """
    sockets = {f"socket:[{inode}]" for inode in _sockets(host, port)}
    if not sockets:
        return ()
    return tuple(int(each.name) for each in _PROC.glob("[0-9]*") if _has_one(each, sockets))


def _resident_bytes(processes: tuple[int, ...]) -> int:
    """What they have in memory together, in bytes; one that has ended has none; blocks."""
    whole = 0
    for process in processes:
        with suppress(OSError):
            found = _RESIDENT.search((_PROC / str(process) / "status").read_text())
            whole += int(found[1]) << 10 if found else 0
    return whole


def _sockets(host: str, port: int) -> Iterator[str]:
    """The inodes of the sockets that listen at that address, or at every one."""
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        lines: list[str] = []
        with suppress(OSError):
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        for line in lines:
            _, local, _, state, *rest = line.split()
            where, _, at = local.partition(":")
            heard = _address(where, family)
            if state == _LISTENING and int(at, 16) == port and heard in (host, "0.0.0.0", "::"):  # noqa: S104 - read, not bound
                yield rest[5]


def _address(text: str, family: socket.AddressFamily) -> str:
    """An address as ``/proc/net/tcp`` has it: words of 32 bits in the machine's own order."""
    words = (text[start : start + 8] for start in range(0, len(text), 8))
    octets = b"".join(int(word, 16).to_bytes(4, "little") for word in words)
    return socket.inet_ntop(family, octets)


def _has_one(process: Path, sockets: set[str]) -> bool:
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                if str(descriptor.readlink()) in sockets:
                    return True
    return False
