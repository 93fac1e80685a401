"""What the end of the first of two certificates means for a live connection (RFC 5280, 4.1.2.5).

By default the connection ends with it, and some time before that the session says so, so that its
client can finish and come back with a newer certificate. With `LiveAfterExpiry.KEEP` it goes on,
and the log says that it does.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from asynctls.admission import LiveAfterExpiry
from asynctls.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.admission import Peer

__all__ = ["LONGEST_NOTICE", "Expiry", "notice", "utc_now"]

log = get_logger()

LONGEST_NOTICE: Final = timedelta(minutes=5)
"""How long before its end a session is told of it, at the most."""

# The wall clock can be set, and a loop's time may stand still in sleep: look again this often.
_LOOK_AGAIN_S: Final = 60.0


def utc_now() -> datetime:
    """The time by the wall clock."""
    return datetime.now(UTC)


def notice(left: timedelta) -> timedelta:
    """How long before its end a connection is told of it that has ``left`` to live at its start.

    A quarter of that, or less by chance: with certificates that are renewed at two thirds of their
    life the next one is there by then, and not all clients of a server come back at once.
    """
    longest = min(max(left, timedelta(0)) / 4, LONGEST_NOTICE)
    return longest * (0.7 + 0.3 * random.random())  # noqa: S311 - spreads load, no secret


class Expiry:
    """Watches the clock for a connection and its two certificates, from ``start`` to ``stop``.

    Args:
        own: the certificate that we showed.
        peer: the other end's.
        live_after_expiry: what the end of the first one means at that moment.
        on_near: called once when that is near; never with ``KEEP``.
        on_end: called once with whose certificate ended and when, in words; never with ``KEEP``.
        now: the clock.
    """

    def __init__(
        self,
        own: Peer,
        peer: Peer,
        *,
        live_after_expiry: Callable[[], LiveAfterExpiry],
        on_near: Callable[[], None] = lambda: None,
        on_end: Callable[[str], None],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._peer = peer
        self._first = own if own.not_after <= peer.not_after else peer
        self._live_after_expiry = live_after_expiry
        self._on_near = on_near
        self._on_end = on_end
        self._now = now
        self._near = self._first.not_after
        self._told = False
        self._outlived = False
        self._alarm: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Looks at the clock now, and again when it is time; a callback may be called at once."""
        self._near = self._first.not_after - notice(self._first.not_after - self._now())
        self._look()

    def _look(self) -> None:
        now = self._now()
        keeps = self._live_after_expiry() is LiveAfterExpiry.KEEP
        if now >= self._first.not_after:
            if not keeps:
                self._alarm = None
                self._on_end(self._words())
                return
            self._outlive()
        elif now >= self._near and not keeps and not self._told:
            self._told = True
            self._on_near()
        coming = self._near if now < self._near else self._first.not_after
        wait_s = (coming - now).total_seconds() if now < coming else _LOOK_AGAIN_S
        self._alarm = asyncio.get_running_loop().call_later(min(wait_s, _LOOK_AGAIN_S), self._look)

    def _outlive(self) -> None:
        if not self._outlived:
            self._outlived = True
            log.warning(
                "certificate outlived",
                peer=str(self._peer),
                reason=self._words(),
                then="the connection goes on, as live_after_expiry is 'keep'; it ends by itself, "
                "or when its peer is revoked or no longer allowed",
            )

    def _words(self) -> str:
        return (
            f"the certificate of {self._first.name} ended at "
            f"{self._first.not_after:%Y-%m-%dT%H:%M:%SZ}"
        )

    def stop(self) -> None:
        """Looks no more."""
        if self._alarm is not None:
            self._alarm.cancel()
