"""Live connections are held against what is known now: who is revoked or has expired is out.

`admit` let their peers in by the CRL of that moment. When a new one comes, each is judged again,
and only those that would be refused today are ended: a session by an ERROR that tells its peer why.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from asynctls.admission import Peer, Refused, Rules, admit_again
from asynctls.alerts import Alert
from asynctls.errors import ErrorCode
from asynctls.logger import get_logger
from asynctls.session.dates import Expiry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from asynctls.admission import LiveAfterExpiry
    from asynctls.enrolment.keeper import Keeper
    from asynctls.streams import PeerStream

__all__ = ["Live", "end_unwelcome", "expiry_of", "standing_watched"]

log = get_logger()

_AT_ONCE = 500

_CODES = {
    Alert.CERTIFICATE_EXPIRED: ErrorCode.CERTIFICATE_EXPIRED,
    Alert.CERTIFICATE_REVOKED: ErrorCode.CERTIFICATE_REVOKED,
    Alert.INTERNAL_ERROR: ErrorCode.CRL_NOT_CURRENT,
}


class Live(Protocol):
    """What is judged: a `Session`, or a `PeerStream`."""

    @property
    def peer(self) -> Peer:
        """Whom its certificate names."""

    async def end(self, code: ErrorCode, reason: str, /) -> None:
        """Ends it, and tells the peer by ``code`` where there is a way."""


async def end_unwelcome(sessions: Iterable[Live], rules: Rules) -> int:
    """Ends each session whose peer would not be let in now, and says how many those were.

    Args:
        sessions: open ones; not changed meanwhile.
        rules: what counts now.
    """
    now = datetime.now(UTC)
    verdicts = []
    for number, session in enumerate(sessions, 1):
        verdicts.append((session, admit_again(session.peer, now=now, rules=rules)))
        if number % _AT_ONCE == 0:
            # Thousands take longer than whoever else is served should wait.
            await asyncio.sleep(0)
    unwelcome = [(each, verdict) for each, verdict in verdicts if isinstance(verdict, Refused)]
    if unwelcome:
        async with asyncio.TaskGroup() as ending:
            for session, verdict in unwelcome:
                code = _CODES.get(verdict.alert, ErrorCode.NOT_ALLOWED)
                ending.create_task(session.end(code, verdict.reason))
    return len(unwelcome)


def expiry_of(
    stream: PeerStream, *, own_certificate: bytes, live_after_expiry: Callable[[], LiveAfterExpiry]
) -> Expiry:
    """Cuts a stream off, once it is started, when the first of its two certificates ends.

    A session does so by itself, and tells its peer.

    Args:
        stream: a live one.
        own_certificate: the one that we showed on it (DER).
        live_after_expiry: with ``KEEP`` the log tells of that end, and the stream goes on; asked
            when it is near.
    """
    return Expiry(
        Peer.of(own_certificate),
        stream.peer,
        live_after_expiry=live_after_expiry,
        on_end=stream.cut_off,
    )


@asynccontextmanager
async def standing_watched(
    keeper: Keeper, sessions: Callable[[], Iterable[Live]], rules: Callable[[], Rules]
) -> AsyncIterator[None]:
    """While the context lasts, ends each live session whose peer would no longer be let in.

    Args:
        keeper: tells when there is something new to hold them against.
        sessions: the live ones.
        rules: what counts at that moment.
    """
    watch = _Watch(sessions, rules)
    forget = keeper.on_change(watch.changed)
    try:
        # What changed between `admit` and now would be missed.
        await watch.judge()
        yield
    finally:
        forget()
        await watch.stop()


class _Watch:
    """Judges again when something has changed, and has no task until then."""

    def __init__(self, sessions: Callable[[], Iterable[Live]], rules: Callable[[], Rules]) -> None:
        self._sessions = sessions
        self._rules = rules
        self._wanted = False
        self._judging: asyncio.Task[None] | None = None

    def changed(self) -> None:
        """Something has."""
        self._wanted = True
        if self._judging is None or self._judging.done():
            self._judging = asyncio.create_task(self._judge_while_wanted())

    async def _judge_while_wanted(self) -> None:
        while self._wanted:
            self._wanted = False
            await self.judge()

    async def judge(self) -> None:
        """Ends those that would not be let in now."""
        try:
            await end_unwelcome(tuple(self._sessions()), self._rules())
        except Exception:
            # The border of this task: a fault with one session must not spare all later ones.
            log.exception("a session could not be judged again")

    async def stop(self) -> None:
        """Judges no more."""
        if self._judging is not None:
            self._judging.cancel()
            await asyncio.gather(self._judging, return_exceptions=True)
