"""What a server does with each session: an app is a coroutine that takes one.

An app returns when it has done; the service then ends our direction by CLOSE and awaits the peer's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from asynctls.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asynctls.session import Session

__all__ = ["App", "echo_app", "message_app"]

log = get_logger()

App: TypeAlias = "Callable[[Session], Awaitable[None]]"
"""Serves one session; what it raises ends that session alone."""


def message_app(text: str) -> App:
    """The default app: sends ``text`` once to each client and waits for the client's receipt.

    The message counts as sent only when the receipt is in, authenticated by the session's key.
    """
    message = text.encode()

    async def send_message(session: Session) -> None:
        await session.send(message, receipt=True)
        log.info("message sent", peer=str(session.peer), bytes=len(message), receipt="verified")

    return send_message


async def echo_app(session: Session) -> None:
    """Sends each message back to whom it came from, until the client ends its direction."""
    async for message in session:
        await session.send(message)
        log.info("message echoed", peer=str(session.peer), bytes=len(message))
