"""Word to the service manager that started a daemon: sd_notify(3), as datagrams on a UNIX socket.

systemd's protocol, which others speak too: lines ``NAME=VALUE`` to the socket that the variable
``NOTIFY_SOCKET`` names. See docs/decisions/systemd.md for why these lines are our own.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from asynctls.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Self

__all__ = ["ServiceManager"]

log = get_logger()

_LONGEST_STATUS = 200


class ServiceManager:
    """Whoever started this daemon and wants to hear how it fares; nobody, where nobody does.

    Attributes:
        watchdog_s: how often it wants to hear ``alive``, in seconds: twice as often as it says, as
            sd_watchdog_enabled(3) advises. None: not at all.
    """

    def __init__(self, path: str | None = None, *, watchdog_s: float | None = None) -> None:
        """Takes the socket's path (``@`` begins an abstract one); None: nobody wants to hear."""
        self._path = path
        self._ready: str | None = None
        self.watchdog_s = None if path is None else watchdog_s

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str], *, pid: int) -> Self:
        """The one that the environment names; what names it is removed, as no child is meant.

        Args:
            environ: the environment.
            pid: this process's number: a watchdog can be meant for another one.
        """
        path = environ.pop("NOTIFY_SOCKET", "")
        usec = environ.pop("WATCHDOG_USEC", "")
        meant = environ.pop("WATCHDOG_PID", "") or str(pid)
        watched = usec.isascii() and usec.isdigit() and int(usec) > 0 and meant == str(pid)
        return cls(
            path if path.startswith(("/", "@")) else None,
            watchdog_s=int(usec) / 2_000_000 if watched else None,
        )

    def ready(self, status: str) -> None:
        """The daemon does its work now; ``status`` says which, in a few words."""
        self._ready = status
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        """A reload has begun; not told before ``ready``, which it would take the place of."""
        if self._ready is not None:
            # By this time a manager tells it from an earlier one (Type=notify-reload).
            now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            self._send("RELOADING=1", f"MONOTONIC_USEC={now_us}", _status("reloading"))

    def reloaded(self, failure: str | None) -> None:
        """A reload has ended; ``failure`` says why it took nothing."""
        if self._ready is not None:
            words = self._ready if failure is None else f"{self._ready}; reload failed: {failure}"
            self._send("READY=1", _status(words))

    def stopping(self) -> None:
        """The daemon drains and ends."""
        self._send("STOPPING=1", _status("draining"))

    def status(self, words: str) -> None:
        """What the daemon does, where it is not ready yet."""
        self._send(_status(words))

    def alive(self) -> None:
        """The loop turns."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._path is None:
            return
        # All that is sent waits in the kernel for the manager: a send that would wait for it is
        # given up, as the daemon must live without it.
        address = f"\0{self._path[1:]}" if self._path.startswith("@") else self._path
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
                one.setblocking(False)  # noqa: FBT003 - the standard library's own
                one.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.warning("service manager not told", what=lines[0], error=error)


def _status(words: str) -> str:
    """One line, whatever is in an error's words."""
    return f"STATUS={' '.join(words.split())[:_LONGEST_STATUS]}"
