"""What a session cost this end, for the event that ends it: bytes sent by part, time in HMAC."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynctls.session import Session
    from asynctls.tls import Stream

__all__ = ["session_figures"]


def session_figures(stream: Stream, session: Session) -> dict[str, object]:
    """Fields for the log event ``session ended``.

    ``sent`` has the TLS bytes that this end sent, record headers included, by part of the
    handshake; application data are split by the type of frame that they carried. ``hmac_us`` is
    the time spent in HMAC over frames, both directions, in microseconds.
    """
    parts = {
        str(part): count
        for part, count in stream.sent.bytes_by_part.items()
        if count and part != "application_data"
    }
    frames = {kind.name: count for kind, count in session.sent_bytes.items() if count}
    return {"sent": parts | frames, "hmac_us": round(session.mac_ns / 1000, 1)}
