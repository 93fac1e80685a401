"""The client role: a session, or a plain stream, with one server."""

from asynctls.client.connecting import connect
from asynctls.client.service import run
from asynctls.client.streams import open_stream

__all__ = ["connect", "open_stream", "run"]
