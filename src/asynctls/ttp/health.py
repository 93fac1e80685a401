"""Whether the TTP can do its work now, for ``/healthz``: found out by what it does anyway.

The daemon's upkeep reads the ledger twice a second. What it found is kept here and shown, so that
nobody who asks, however often, costs a look of his own; and upkeep that hangs, as on a disk that
does not answer, shows by its age.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from asynctls.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from asynctls.ttp.crls import SignedCRL

__all__ = ["Upkeep", "crl_troubles"]

LONGEST_S = 15.0
"""How old the last good look may be: it is taken every half second, and 5 s after a failure."""


class Upkeep:
    """How the last rounds of the TTP's upkeep ended."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Counts as just done: whoever opens an authority has looked."""
        self._clock = clock
        self._done_at = clock()
        self._failure: Exception | None = None

    def done(self) -> None:
        """A round was done without a fault."""
        self._done_at = self._clock()
        self._failure = None

    def failed(self, error: Exception) -> None:
        """A round failed; the log has said why."""
        self._failure = error

    def troubles(self) -> list[str]:
        """What is wrong, in words that tell a stranger nothing of files and hosts."""
        if isinstance(self._failure, LedgerError):
            return ["the ledger cannot be used: the TTP's log says why"]
        if self._failure is not None:
            return ["the TTP's upkeep fails: its log says why"]
        age = self._clock() - self._done_at
        if age > LONGEST_S:
            return [f"the ledger has not answered for {age:.0f} s"]
        return []


def crl_troubles(crl: SignedCRL | None, now: datetime) -> list[str]:
    """What is wrong with a CRL that is handed out: every role that holds it lets nobody in."""
    if crl is None:
        return ["there is no CRL yet"]
    if now >= crl.next_update:
        return [f"the CRL ended on {crl.next_update:%Y-%m-%d %H:%M:%S} UTC"]
    return []
