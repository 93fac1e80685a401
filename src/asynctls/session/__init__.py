"""The HMAC session, asynctls/1: authenticated, counted, receipted messages inside mutual TLS 1.2.

`keys` derives, `sealer` makes `frames` in their one `shape` and `opener` checks them, `states` says
what may stand where, `protocol` is one end as a pure object, `session` the coroutines around it:
`opening`, then `sending` and `receiving` at once, over a `link`. docs/session-protocol.md is the
protocol.
"""

from __future__ import annotations

from asynctls.session.channel import ALPN, Channel, Limits
from asynctls.session.session import Session
from asynctls.session.states import FrameType
from asynctls.session.stream import SessionStream, stream_limits

__all__ = [
    "ALPN",
    "Channel",
    "FrameType",
    "Limits",
    "Session",
    "SessionStream",
    "stream_limits",
]
