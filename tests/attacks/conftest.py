"""Whom the attacks are about. The attacks' tools are the modules beside this file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynctls.pki.profiles import Profile
from asynctls.probe.playbook import PLAYBOOK
from tests.attacks.victims import Client, Server, client_of, server_of
from tests.attacks.world import Holder, World
from tests.roles.processes import Daemons

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

COLUMNS = ("as it is", "without the defence")
"""The properties of a test that found something out by the playbook."""


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The CA that client and server trust."""
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def other_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A CA that they have never heard of."""
    return World(tmp_path_factory.mktemp("other-world"))


@pytest.fixture
def client(world: World) -> Client:
    """The client, whom a test may change."""
    return client_of(world, world.holder("client", Profile.CLIENT))


@pytest.fixture
def server(world: World) -> Server:
    """The server, likewise; it lets in the client alone."""
    return server_of(world, world.holder("server", Profile.SERVER))


@pytest.fixture(scope="session")
def mallory(world: World) -> Holder:
    """Mallory is a member: the CA has given her a certificate, for her own name."""
    return world.holder("mallory", Profile.PEER)


@pytest.fixture
async def asynctls(tmp_path: Path) -> AsyncIterator[Daemons]:
    """The commands as processes, none of which outlives its test."""
    home = tmp_path / "home"
    home.mkdir()
    daemons = Daemons(home)
    yield daemons
    await daemons.end()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--exhaust",
        action="store_true",
        help="Load a server as well as it is: on a machine that does nothing else.",
    )


@pytest.fixture
def exhaust(request: pytest.FixtureRequest) -> bool:
    """Whether p99 is to hold, which says something where no other test runs beside this one."""
    return bool(request.config.getoption("--exhaust", default=False))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The playbook's table: what a server of ours did, and one without that defence."""
    rows: dict[str, dict[str, str]] = {}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, found in report.user_properties:
            if name in COLUMNS:
                rows.setdefault(found["attack"], {})[name] = (
                    f"{found['verdict']}: {found['answer']}"
                )
    if not rows:
        return
    terminalreporter.section("the playbook, attack by attack")
    for attack in (each.name for each in PLAYBOOK if each.name in rows):
        found = rows[attack]
        terminalreporter.write_line(attack, bold=True)
        for column in COLUMNS:
            terminalreporter.write_line(f"    {column:<22} {found.get(column, 'not run')}")
