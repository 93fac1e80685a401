"""The client role: a session with one server."""

from asynctls.client.connecting import connect
from asynctls.client.service import run

__all__ = ["connect", "run"]
