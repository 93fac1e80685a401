"""The client role: connect, receive, verify, print, and exit."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from asynctls.admission import StaleCRL
from asynctls.client.connecting import open_session
from asynctls.enrolment.joining import ensure_identity_alone
from asynctls.enrolment.keeper import Keeper
from asynctls.logger import get_logger
from asynctls.pki.keys import KeyType
from asynctls.pki.names import format_serial
from asynctls.session import ALPN, Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.config import ClientConfig
    from asynctls.session import Session

__all__ = ["run"]

log = get_logger()

_GIVE_UP_AFTER = timedelta(seconds=30)


async def run(config: ClientConfig) -> None:
    """The command ``asynctls client``: prints each message on standard output.

    Raises:
        EnrolmentError: there is no identity, and none could be had.
        ServerUnreachableError: nobody answers.
        HandshakeError: we refused the server, or it us; the message says what to do.
        SessionError: the session ended otherwise than by the server's CLOSE.
    """
    identity = await ensure_identity_alone(
        config.state,
        join_string=config.join,
        join_file=config.join_file,
        key_type=KeyType(config.key_type),
        give_up_after=_GIVE_UP_AFTER,
    )
    if identity.expired(datetime.now(UTC)):
        log.warning(
            "our certificate has expired",
            name=identity.name,
            expired_on=identity.not_after.isoformat(),
            advice=f"connecting all the same; join again: asynctls ttp token {identity.name}",
        )
    show = _show_json if config.json else _show
    keeper = Keeper(
        identity,
        crl_interval=config.crl_interval,
        stale_crl=StaleCRL(config.stale_crl),
        alpn=[ALPN],
    )
    async with (
        keeper,
        open_session(
            keeper,
            config.connect,
            server_name=config.server_name,
            timeout_s=config.connect_timeout.total_seconds(),
            limits=Limits(max_message_bytes=config.max_message),
        ) as session,
    ):
        await _receive(session, show)


async def _receive(session: Session, show: Callable[[Session, bytes], None]) -> None:
    async for message in session:
        log.info("message verified", peer=str(session.peer), bytes=len(message))
        show(session, message)
        sys.stderr.write("Message received\n")
        sys.stderr.flush()


def _show(session: Session, message: bytes) -> None:
    del session
    if sys.stdout.isatty():
        # Whoever sent it is authenticated, but that makes no terminal escape harmless.
        text = message.decode("utf-8", "backslashreplace")
        shown = (c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
        message = "".join(shown).encode()
    sys.stdout.buffer.write(message + b"\n")
    sys.stdout.flush()


def _show_json(session: Session, message: bytes) -> None:
    received = {
        "message": message.decode("utf-8", "backslashreplace"),
        "peer": session.peer.name,
        "serial": format_serial(session.peer.serial_number),
    }
    # JSON escapes some control characters only: not those of 8 bits, which terminals obey as well.
    text = msgspec.json.encode(received).decode()
    sys.stdout.write("".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text) + "\n")
    sys.stdout.flush()
