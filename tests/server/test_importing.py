"""An app of the user's own is found by its name, and each way in which it is none is told."""

from __future__ import annotations

import signal
import sys
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

import asynctls as library
from asynctls.errors import ConfigError
from asynctls.server.importing import import_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.roles.processes import Daemons

APPS = """\
    async def app(session):
        await session.send(b"hello " + session.peer.name.encode(), receipt=True)

    class Greeter:
        def __init__(self, greeting):
            self.greeting = greeting

        async def __call__(self, session):
            await session.send(self.greeting)

    class Held:
        greeter = Greeter(b"held")

    number = 5

    def plain(session):
        pass

    async def without_a_session():
        pass

    async def with_a_choice(session, greeting=b"hello"):
        await session.send(greeting)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in [each for each in sys.modules if each.partition(".")[0].endswith("_of_mine")]:
        del sys.modules[name]


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(dedent(text))


def refused(name: str) -> str:
    with pytest.raises(ConfigError) as caught:
        import_app(name)
    (fault,) = caught.value.faults
    assert (fault.key, fault.source) == ("server.app", name)
    assert "\n" not in str(fault)
    return fault.problem


@pytest.mark.parametrize("name", ["app", "Held.greeter", "with_a_choice"])
def test_a_coroutine_function_of_the_working_folder_is_an_app(here: Path, name: str) -> None:
    write(here, "apps_of_mine.py", APPS)
    assert callable(import_app(f"apps_of_mine:{name}"))


def test_a_module_in_a_package_is_found_by_its_dots(here: Path) -> None:
    write(here, "package_of_mine/inner/apps.py", APPS)
    assert callable(import_app("package_of_mine.inner.apps:app"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere:app", "there is no module nowhere in "),
        ("apps_of_mine.deeper:app", "there is no module apps_of_mine.deeper in "),
        ("nowhere.deeper:app", "there is no module nowhere in "),
        ("apps_of_mine:other", "the module apps_of_mine has no other"),
        ("apps_of_mine:Held.other", "the module apps_of_mine has no Held.other"),
        ("apps_of_mine:number", "it is of the kind int: a coroutine function is wanted"),
        ("apps_of_mine:Greeter", "it is of the kind class: a coroutine function is wanted"),
        ("apps_of_mine:plain", "it is no coroutine function: write async def"),
        ("apps_of_mine:without_a_session", "it must take one argument, the session"),
    ],
)
def test_what_is_no_app_is_told_in_words(here: Path, name: str, words: str) -> None:
    write(here, "apps_of_mine.py", APPS)
    assert refused(name).startswith(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import os\nimport not_there_at_all\n", "No module named 'not_there_at_all'"),
        ("\nfrom os import not_there_at_all\n", "ImportError: cannot import name"),
        ("\nraise RuntimeError('no\\nlicence')\n", "RuntimeError: no licence"),
        ("\nasync def app(session)\n    pass\n", "SyntaxError: "),
    ],
)
def test_a_module_that_fails_is_told_by_its_line(here: Path, text: str, words: str) -> None:
    write(here, "apps_of_mine.py", text)
    problem = refused("apps_of_mine:app")
    assert problem.startswith("the module apps_of_mine fails: ")
    assert words in problem
    assert problem.endswith(f"({here / 'apps_of_mine.py'}, line 2)")


async def test_the_server_serves_it_and_a_reload_keeps_it(
    asynctls: Daemons, issued: Any, tmp_path: Path
) -> None:
    # The folder that the commands of the tests are started in.
    home = tmp_path / "home"
    write(home, "apps_of_mine.py", APPS)
    server, address = await asynctls.server(
        await issued("server"), "--app", "apps_of_mine:app", "--crl-interval", "1h"
    )
    identity = await issued("client")

    async def answer() -> bytes:
        async with library.connect(address, server_name="server", identity=identity) as session:
            return await session.receive()

    assert await answer() == b"hello client"
    write(home, "apps_of_mine.py", "async def app(session): pass\n")
    new = await issued("server")
    server.signal(signal.SIGHUP)
    assert (await server.event("identity reloaded"))["serial"] == new.serial
    assert await answer() == b"hello client"


async def test_an_app_that_cannot_be_had_ends_the_start_in_words(
    asynctls: Daemons, issued: Any
) -> None:
    identity = await issued("server")
    words = ("--state", identity.folder, "--allow", "client", "--app", "nowhere:app")
    ended = await asynctls.run("server", *words)
    assert (ended.code, ended.out) == (2, b"")
    assert any(
        "server.app (nowhere:app): there is no module nowhere" in line for line in ended.said
    )
