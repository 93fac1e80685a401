"""What a server does with each session: an app is a coroutine that takes one.

An app returns when it has done; the service then ends our direction by CLOSE and awaits the peer's.
"""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from asynctls.config.template import check_template, fill_in
from asynctls.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asynctls.config import ServerConfig
    from asynctls.session import Session

__all__ = ["App", "app_of", "echo_app", "message_app"]

log = get_logger()

App: TypeAlias = "Callable[[Session], Awaitable[None]]"
"""Serves one session; what it raises ends that session alone."""


async def app_of(config: ServerConfig) -> App:
    """The app that a config chooses; ``forward`` is none, for it has no sessions.

    Raises:
        ConfigError: it is to be imported, and cannot be.
    """
    if config.app.imported:
        # Only a server with an app of the user's own pays for what imports it.
        from asynctls.server.importing import import_app  # noqa: PLC0415

        return await asyncio.to_thread(import_app, config.app.name)
    return echo_app if config.app.name == "echo" else message_app(config.message)


def message_app(text: str) -> App:
    """The default app: sends ``text`` once to each client and waits for the client's receipt.

    The message counts as sent only when the receipt is in, authenticated by the session's key.

    Args:
        text: may have ``{name}`` in it, the client's name; ``{time}``, the moment of sending (UTC,
            RFC 3339); ``{otp}``, six digits from `secrets`, others in each message.

    Raises:
        ValueError: another placeholder, or a brace that is neither doubled nor one's own.
    """
    check_template(text)

    async def send_message(session: Session) -> None:
        message = fill_in(text, _values(session)).encode()
        await session.send(message, receipt=True)
        log.info("message sent", peer=str(session.peer), bytes=len(message), receipt="verified")

    return send_message


def _values(session: Session) -> dict[str, str]:
    now = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    return {
        "name": session.peer.name,
        "time": f"{now.isoformat()}Z",
        "otp": f"{secrets.randbelow(1_000_000):06}",
    }


async def echo_app(session: Session) -> None:
    """Sends each message back to whom it came from, until the client ends its direction."""
    async for message in session:
        await session.send(message)
        log.info("message echoed", peer=str(session.peer), bytes=len(message))
