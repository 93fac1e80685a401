"""A role's settings as the limits of its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.session import Limits, stream_limits

if TYPE_CHECKING:
    from asynctls.config import ClientConfig, ServerConfig

__all__ = ["limits_of"]


def limits_of(config: ServerConfig | ClientConfig) -> Limits:
    """What sessions take and how long they wait, by these settings."""
    limits = Limits(
        max_message_bytes=config.max_message,
        handshake_timeout_s=config.session_timeout.total_seconds(),
        receipt_timeout_s=config.receipt_timeout.total_seconds(),
        close_timeout_s=config.close_timeout.total_seconds(),
        queue_messages=config.queue_messages,
        queue_bytes=config.queue_bytes,
    )
    return stream_limits(limits) if config.session else limits
