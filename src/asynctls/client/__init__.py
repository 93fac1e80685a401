"""The client role: a session, or a plain stream, with one server."""

from asynctls.client.library import connect, open_stream
from asynctls.client.service import run

__all__ = ["connect", "open_stream", "run"]
