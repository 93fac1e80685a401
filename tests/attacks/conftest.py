"""Whom the attacks are about. The attacks' tools are the modules beside this file."""

from __future__ import annotations

import pytest

from asynctls.pki.profiles import Profile
from tests.attacks.victims import Client, Server, client_of, server_of
from tests.attacks.world import Holder, World


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
