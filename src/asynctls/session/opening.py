"""The opening of a session: KEY from the client, READY from the server, within a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asynctls.errors import ErrorCode, SessionTimeoutError
from asynctls.logger import get_logger
from asynctls.session.protocol import Opened
from asynctls.session.states import FrameType, Role

if TYPE_CHECKING:
    from asynctls.session.link import Link
    from asynctls.session.protocol import Protocol

__all__ = ["shake_hands"]

log = get_logger()


async def shake_hands(protocol: Protocol, link: Link, timeout_s: float) -> None:
    """Returns when the session stands for this end; a peer that was refused was told why.

    Raises:
        SessionTimeoutError: what this end waited for did not come within ``timeout_s``.
        SessionError: any other way in which the session did not come about.
    """
    awaited = "KEY" if protocol.role is Role.SERVER else "READY or ERROR"
    try:
        async with asyncio.timeout(timeout_s):
            link.flush()
            log.debug("session opening", awaited=awaited, sent=link.sent_bytes[FrameType.KEY])
            while not isinstance(protocol.next_event(), Opened):
                await link.read()
            link.flush()
            await link.drain()
    except TimeoutError:
        text = f"no {awaited} came within {timeout_s:g} s"
        protocol.end(ErrorCode.TIME_OUT, text)
        raise SessionTimeoutError(text) from None
    finally:
        link.flush()
