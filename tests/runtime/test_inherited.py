"""Sockets that were opened by whoever started the process."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asynctls.config import Address
from asynctls.errors import ConfigError
from asynctls.runtime import listen, listen_unix
from asynctls.runtime.inherited import InheritedSockets, inherit

if TYPE_CHECKING:
    from pathlib import Path

Events = list[MutableMapping[str, Any]]

HERE = Address("127.0.0.1", 1)


def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    writer.close()


@pytest.fixture(autouse=True)
def none_is_left() -> Iterator[None]:
    yield
    inherit(InheritedSockets())


def tcp(host: str = "127.0.0.1", family: int = socket.AF_INET) -> tuple[int, Address]:
    one = socket.socket(family, socket.SOCK_STREAM)
    one.bind((host, 0))
    one.listen()
    address = Address(*one.getsockname()[:2])
    return one.detach(), address


async def visit(address: Address) -> bytes:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_socket_takes_the_place_of_the_address_in_the_setting_of_its_name(
    events: Events,
) -> None:
    main, where = tcp()
    other, elsewhere = tcp()
    inherit(InheritedSockets([("status_listen", other), ("listen", main)]))
    async with (
        asyncio.timeout(20),
        listen(HERE, greet, role="ttp") as listener,
        listen(HERE, greet, role="ttp", setting="status_listen") as status,
    ):
        assert (listener.address, status.address) == (where, elsewhere)
        assert await visit(where) == await visit(elsewhere) == b"hello"
    assert [event["address"] for event in events] == [str(where), str(elsewhere)]


async def test_several_of_one_name_are_several_addresses_of_one_listener(events: Events) -> None:
    first, where = tcp()
    second, also = tcp()
    inherit(InheritedSockets([("listen", first), ("listen", second)]))
    async with asyncio.timeout(20), listen(HERE, greet, role="ttp"):
        assert await visit(where) == await visit(also) == b"hello"
    assert (events[0]["address"], events[0]["also"]) == (str(where), [str(also)])


async def test_a_unix_socket_stays_whoever_made_it_its_owner(
    tmp_path: Path, events: Events
) -> None:
    path = tmp_path / "socket"
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    one.bind(str(path))
    inherit(InheritedSockets([("listen", one.detach())]))
    async with (
        asyncio.timeout(20),
        listen_unix(tmp_path / "another", greet, role="client") as listener,
    ):
        assert listener.path == path
        reader, writer = await asyncio.open_unix_connection(path)
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()
    assert path.exists()
    assert events[0]["address"] == f"unix:{path}"


async def test_one_unix_socket_is_all_that_a_setting_can_have(tmp_path: Path) -> None:
    both = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).detach() for _ in range(2)]
    inherit(InheritedSockets([("listen", each) for each in both]))
    with pytest.raises(ConfigError, match=r"client\.listen.*2 sockets were handed over"):
        async with listen_unix(tmp_path / "another", greet, role="client"):
            pass


async def test_a_socket_of_another_kind_is_refused_with_the_settings_key() -> None:
    inherit(InheritedSockets([("listen", socket.socket(socket.AF_UNIX).detach())]))
    with pytest.raises(ConfigError, match=r"server\.listen.*another kind"):
        async with listen(HERE, greet, role="server"):
            pass
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inherit(InheritedSockets([("listen", datagrams.detach())]))
    with pytest.raises(ConfigError, match="another kind"):
        async with listen(HERE, greet, role="server"):
            pass


def environ(count: int | str, names: str | None = None, pid: int = 7) -> dict[str, str]:
    made = {"LISTEN_PID": str(pid), "LISTEN_FDS": str(count), "HOME": "/"}
    return made if names is None else made | {"LISTEN_FDNAMES": names}


def test_names_are_read_and_what_told_of_them_is_removed() -> None:
    # Beyond what the tests before have left gaps in: the two follow one another.
    first = fcntl.fcntl(0, fcntl.F_DUPFD, 200)
    second = fcntl.fcntl(0, fcntl.F_DUPFD, first + 1)
    assert second == first + 1
    os.set_inheritable(first, True)  # noqa: FBT003
    told = environ(2, "metrics_listen:asynctls-ttp.socket")
    found = InheritedSockets.taken_from(told, pid=7, first=first)
    assert told == {"HOME": "/"}
    assert found._by_name == {"metrics_listen": [first], "listen": [second]}
    assert not os.get_inheritable(first)
    os.close(first)
    os.close(second)


def test_sockets_without_names_are_for_the_main_listener() -> None:
    one = os.dup(0)
    found = InheritedSockets.taken_from(environ(1), pid=7, first=one)
    assert found._by_name == {"listen": [one]}
    os.close(one)


def test_sockets_for_another_process_are_left_alone() -> None:
    told = environ(1, pid=8)
    InheritedSockets.taken_from(told, pid=7).check_all_taken()
    assert told == {"HOME": "/"}


def test_a_socket_that_nobody_listens_on_is_named() -> None:
    with pytest.raises(ConfigError, match="by the name status, stray"):
        InheritedSockets([("stray", 3), ("status", 4)]).check_all_taken()


def test_a_descriptor_that_is_not_there_is_a_fault() -> None:
    with pytest.raises(ConfigError, match="descriptor 900 was not handed over"):
        InheritedSockets.taken_from(environ(1), pid=7, first=900)


@example("9" * 5000)
@given(st.text(st.characters(blacklist_characters="\0", codec="utf-8")))
def test_a_count_that_is_none_is_a_fault(text: str) -> None:
    if text.isascii() and text.isdigit() and len(text) < 9 and int(text) <= 256:
        return
    if not text:
        InheritedSockets.taken_from(environ(text), pid=7).check_all_taken()
        return
    with pytest.raises(ConfigError, match="is no number"):
        InheritedSockets.taken_from(environ(text), pid=7)
