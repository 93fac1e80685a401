"""TCP connections to an address or a name, and lookups of names that may hang.

A resolver that nobody answers takes some seconds for each try, and no call of it can be cut short.
Both event loops look names up in threads of their own, which they wait for when they close: a
process that is to end would wait as well. The threads here are not waited for.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from concurrent.futures import Future
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    from asynctls.config import Address

__all__ = ["look_up", "open_tcp"]

_Where: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
_Found: TypeAlias = tuple[tuple[socket.AddressFamily, _Where], ...]

# Whoever asks for the same meanwhile waits for the same answer: there are no more threads than
# names, however many connections are tried while a resolver is silent.
_under_way: dict[tuple[str, int, int], Future[_Found]] = {}


async def open_tcp(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects to the first address of a name that takes it; as `asyncio.open_connection`.

    Raises:
        OSError: the name does not resolve (`socket.gaierror`), or nobody answers there.
    """
    if _is_numeric(address.host):
        return await asyncio.open_connection(address.host, address.port)
    refused: OSError | None = None
    for _, where in await look_up(address.host, address.port):
        try:
            return await asyncio.open_connection(_text(where), address.port)
        except OSError as error:
            refused = error
    raise refused or socket.gaierror(socket.EAI_NONAME, "the name has no address")


async def look_up(host: str, port: int, *, flags: int = 0) -> _Found:
    """The families and addresses, each once, in the order in which `socket.getaddrinfo` has them.

    Cancelled, the lookup itself goes on, for nobody.

    Raises:
        OSError: as there.
    """
    asked = (host, port, flags)
    answer = _under_way.get(asked)
    if answer is None:
        answer = _begin(asked)
    return await asyncio.wrap_future(answer)


def _begin(asked: tuple[str, int, int]) -> Future[_Found]:
    answer: Future[_Found] = Future()
    # One that runs is not cancelled by one of those who wait for it.
    answer.set_running_or_notify_cancel()
    # Before any of them hears of it: what was found is kept for nobody who comes later.
    answer.add_done_callback(lambda _: _under_way.pop(asked, None))
    _under_way[asked] = answer
    thread = threading.Thread(target=_find, args=(answer, *asked), name="lookup", daemon=True)
    try:
        thread.start()
    except BaseException as error:
        answer.set_exception(error)
        raise
    return answer


def _find(answer: Future[_Found], host: str, port: int, flags: int) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except Exception as error:  # noqa: BLE001 - handed on to whoever waits
        answer.set_exception(error)
    else:
        # A set's order is not theirs; dict.fromkeys keeps it.
        each = dict.fromkeys((family, cast("_Where", where)) for family, _, _, _, where in found)
        answer.set_result(tuple(each))


def _text(where: _Where) -> str:
    # A link-local address is of one interface (RFC 4007, section 11).
    return f"{where[0]}%{where[3]}" if len(where) == 4 and where[3] else where[0]


@lru_cache(maxsize=16)
def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
