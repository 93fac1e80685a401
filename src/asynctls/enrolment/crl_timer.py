"""A CRL's end, by the clock: live peers are judged again then, and the log is loud until another.

What counts after a list has ended is `admission`'s to say; that it has must not be found out by the
next peer that happens to come.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from asynctls.admission import StaleCRL
from asynctls.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from asynctls.enrolment.identity import Identity
    from asynctls.pki.status import RevocationList

__all__ = ["CRLTimer"]

log = get_logger()

_REMIND_S = 60.0
_THEN = {
    StaleCRL.REFUSE: "whoever its CA issued is refused until the TTP has given a new one",
    StaleCRL.GO_ON: "going on with it, as stale_crl says: who was revoked since is not known",
}


class CRLTimer:
    """Says when a list that is held has ended; ``run`` is a task of whoever holds them."""

    def __init__(
        self,
        *,
        identity: Callable[[], Identity],
        lists: Callable[[], tuple[RevocationList, ...]],
        stale_crl: Callable[[], StaleCRL],
        wanted: Callable[[], None],
        ended: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        """Nothing runs yet.

        Args:
            identity: The one in use.
            lists: Those held.
            stale_crl: What counts when one has ended.
            wanted: Called as long as a list that has ended is held, once a minute.
            ended: Called once when a list has ended.
            clock: The time, aware and UTC.
        """
        self._identity = identity
        self._lists = lists
        self._stale_crl = stale_crl
        self._wanted = wanted
        self._ended = ended
        self._clock = clock
        self._taken = asyncio.Event()

    def look_again(self) -> None:
        """Other lists are held now."""
        self._taken.set()

    async def run(self) -> None:
        """Watches without end, until it is cancelled."""
        ended: tuple[RevocationList, ...] = ()
        while True:
            self._taken.clear()
            now = self._clock()
            try:
                ended = self._look(now, before=ended)
            except Exception:
                # The border of this task: a fault in one look must not end all later ones.
                log.exception("CRL's end not told")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._until_next_end_s(now)):
                    await self._taken.wait()

    def _look(
        self, now: datetime, *, before: tuple[RevocationList, ...]
    ) -> tuple[RevocationList, ...]:
        """The lists that have ended, told of unless they had ``before``."""
        ended = tuple(each for each in self._lists() if now >= each.next_update)
        if ended:
            self._report(ended)
            self._wanted()
        if set(ended) - set(before):
            self._ended()
        return ended

    def _until_next_end_s(self, now: datetime) -> float:
        # Never long, as a clock can be set, and a machine can sleep.
        coming = (each.next_update - now for each in self._lists() if each.next_update > now)
        return min((_REMIND_S, *(each.total_seconds() for each in coming)))

    def _report(self, ended: tuple[RevocationList, ...]) -> None:
        log.error(
            "CRL ended",
            lists=[str(each) for each in ended],
            ended_on=[each.next_update.isoformat() for each in ended],
            ttp=str(self._identity().ttp),
            then=_THEN[self._stale_crl()],
        )
