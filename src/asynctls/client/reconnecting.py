"""Session after session with one server: whenever one has ended, the next one, with a pause."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asynctls.errors import (
    AsynctlsError,
    ErrorCode,
    SessionClosedError,
    SessionRefusedError,
)
from asynctls.logger import get_logger
from asynctls.runtime import Backoff

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    from asynctls.session import Session

__all__ = ["sessions"]

log = get_logger()


async def sessions(
    open_session: Callable[[], AbstractAsyncContextManager[Session]],
    *,
    raised: tuple[type[AsynctlsError], ...] = (),
) -> AsyncGenerator[Session, None]:
    """Yields an open session, again and again; one that is asked for the next is closed first.

    Without end: it is for whoever iterates to stop, and to close the generator.

    Args:
        open_session: opens the next one.
        raised: how the very first may fail so that it is raised; all else is tried again.
    """
    backoff = Backoff()
    loop = asyncio.get_running_loop()
    while True:
        opened = loop.time()
        failure: AsynctlsError | None
        try:
            async with open_session() as session:
                raised = ()
                yield session
        except raised:
            raise
        except AsynctlsError as error:
            failure, reason = error, str(error)
        else:
            failure, reason = session.failure, session.end_reason
            if session.going_away:
                # We were asked to come back.
                backoff.start_anew()
        if _ended_by_date(failure):
            # Which is no trouble: with short certificates it is how every session ends.
            backoff.start_anew()
        delay_s = backoff.delay_s(held_s=loop.time() - opened)
        log.warning("connecting again", reason=reason, retry_in_s=round(delay_s, 1))
        await asyncio.sleep(delay_s)


def _ended_by_date(failure: AsynctlsError | None) -> bool:
    """Whether a session ended because one of its two certificates did, whoever of us said so."""
    if isinstance(failure, SessionClosedError):
        return failure.told is ErrorCode.CERTIFICATE_EXPIRED
    if isinstance(failure, SessionRefusedError):
        return failure.error_code == ErrorCode.CERTIFICATE_EXPIRED
    return False
