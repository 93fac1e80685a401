"""What every daemon needs and no role should write twice: loop, signals, sockets, connections."""

from __future__ import annotations

from asynctls.runtime.backoff import Backoff
from asynctls.runtime.connections import Connections
from asynctls.runtime.daemon import serve_until_stopped
from asynctls.runtime.listening import Listener, listen
from asynctls.runtime.loop import run
from asynctls.runtime.reloading import Part, Reload, Take
from asynctls.runtime.services import Services
from asynctls.runtime.side_thread import SideThread
from asynctls.runtime.signals import Signals
from asynctls.runtime.unix_listening import UnixListener, listen_unix
from asynctls.runtime.unless import unless

__all__ = [
    "Backoff",
    "Connections",
    "Listener",
    "Part",
    "Reload",
    "Services",
    "SideThread",
    "Signals",
    "Take",
    "UnixListener",
    "listen",
    "listen_unix",
    "run",
    "serve_until_stopped",
    "unless",
]
