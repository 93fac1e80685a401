"""The server role: sessions, or plain streams, for whoever is admitted."""

from asynctls.server.apps import App
from asynctls.server.library import serve, serve_streams, serving_streams
from asynctls.server.service import run
from asynctls.server.streams import StreamHandler

__all__ = [
    "App",
    "StreamHandler",
    "run",
    "serve",
    "serve_streams",
    "serving_streams",
]
