"""What went through a session so far, by direction."""

from __future__ import annotations

import msgspec

__all__ = ["Tally"]


class Tally(msgspec.Struct):
    """Whole messages, the bytes in them, and receipts."""

    messages_sent: int = 0
    messages_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    receipts_sent: int = 0
    receipts_received: int = 0
