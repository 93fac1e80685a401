"""The sockets that a daemon listens on, opened so that a fault is told in words.

The TCP connections come from ``asyncio.start_server``, plain: TLS is this package's own coroutine.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import msgspec

from asynctls.config import Address
from asynctls.errors import ConfigError, Fault
from asynctls.logger import get_logger
from asynctls.runtime.inherited import inherited_sockets
from asynctls.tls import look_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]
    Prepare = Callable[[Address], Awaitable[None]]

__all__ = ["Listener", "address_of_socket", "bind", "listen", "told_as_faults"]

log = get_logger()

_BACKLOG = 256
_READ_BUFFER_BYTES = 65_536
_WORDS = {
    errno.EADDRINUSE: "the address is in use: stop the other program, or choose another port",
    errno.EADDRNOTAVAIL: "the address is none of this machine's",
    errno.EACCES: "this user may not listen there (ports below 1024 need a privilege)",
    errno.EPERM: "this user may not listen there (ports below 1024 need a privilege)",
    errno.EAFNOSUPPORT: "this machine has no such kind of address (is IPv6 switched off?)",
}


class Listener(msgspec.Struct, frozen=True):
    """What is being listened on.

    Attributes:
        address: the real one, with the port that the system chose where 0 was asked for.
        servers: one for each socket (a name may stand for an IPv4 and an IPv6 address).
    """

    address: Address
    servers: tuple[asyncio.Server, ...]

    def close(self) -> None:
        """Stops accepting; connections that are there live on. Again: does nothing."""
        for server in self.servers:
            server.close()


@asynccontextmanager
async def listen(
    address: Address,
    accept: Accept,
    *,
    role: str,
    setting: str = "listen",
    event: str = "listening",
    prepare: Prepare | None = None,
) -> AsyncIterator[Listener]:
    """Listens while the context lasts, and logs that with the address as it really is.

    Sockets that the process was handed over for this setting take the place of ``address``.

    Args:
        address: where; port 0 lets the system choose one.
        accept: called for each connection (``Connections.served_by``); it must not block.
        role: for the log, and the table of the config that a fault names.
        setting: the key in that table that ``address`` stands under.
        event: what is logged; ``listening`` is logged once by each daemon, for scripts to wait for.
        prepare: awaited with the real address before it is logged, for what must be in place by
            then.

    Raises:
        ConfigError: for the key ``<role>.<setting>`` when the address cannot be listened on.
    """
    inherited = inherited_sockets()
    with told_as_faults(f"{role}.{setting}", address):
        sockets = inherited.take(setting, socket.AF_INET, socket.AF_INET6)
        said_elsewhere = bool(sockets) and inherited.announced
        sockets = sockets or await bind(address)
        try:
            for one in sockets:
                # Here as well, since a port can turn out to be taken only now.
                one.listen(_BACKLOG)
        except OSError:
            for one in sockets:
                one.close()
            raise
    servers: list[asyncio.Server] = []
    try:
        real = [address_of_socket(one) for one in sockets]
        while sockets:
            servers.append(
                await asyncio.start_server(
                    accept, sock=sockets[0], limit=_READ_BUFFER_BYTES, backlog=_BACKLOG
                )
            )
            sockets.pop(0)
        listener = Listener(real[0], tuple(servers))
        if prepare is not None:
            await prepare(listener.address)
        if not said_elsewhere:
            also = {"also": [str(one) for one in real[1:]]} if real[1:] else {}
            log.info(event, address=str(real[0]), role=role, **also)
        yield listener
    finally:
        # wait_closed() is not called: from Python 3.12 on it waits for the connections too.
        for server in servers:
            server.close()
        for unused in sockets:
            unused.close()


@contextmanager
def told_as_faults(key: str, address: Address) -> Iterator[None]:
    """What goes wrong with a socket is raised in words, as a fault of the setting.

    Raises:
        ConfigError: in the place of an OSError.
    """
    try:
        yield
    except OSError as error:
        problem = _WORDS.get(error.errno or 0, error.strerror or str(error))
        if isinstance(error, socket.gaierror):
            problem = f"the host cannot be found: {error.strerror}"
        raise ConfigError(Fault(key, str(address), problem)) from error


async def bind(address: Address, *, shared: bool = False) -> list[socket.socket]:
    """Sockets bound to all that an address stands for; nobody can connect to them yet.

    Args:
        address: port 0 lets the system choose one, which all of them share.
        shared: several processes of this user may listen there, each by a socket of its own.

    Raises:
        OSError: it cannot be done.
    """
    found = await look_up(address.host, address.port, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    port = address.port
    try:
        for family, where in found:
            # The protocol is named: asyncio turns Nagle's algorithm off only where it can tell.
            one = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                # One address, one family: else peers by IPv4 come under two kinds of address.
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((where[0], port, *where[2:]))
            # All families share the port that the first one got.
            port = one.getsockname()[1]
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


def address_of_socket(one: socket.socket) -> Address:
    """Where a socket is bound to."""
    host, port = one.getsockname()[:2]
    return Address(host, port)
