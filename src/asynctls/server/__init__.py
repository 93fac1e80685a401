"""The server role: sessions for whoever is admitted, each served by an app."""

from asynctls.server.apps import App
from asynctls.server.service import run, serve

__all__ = ["App", "run", "serve"]
