"""The downgrades against servers that nobody here wrote, set up well and badly: each is told apart.

What `asynctls probe` says must be so of any TLS server: a tunnel's end can be another program.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from asynctls.config import Address
from asynctls.pki.profiles import Profile
from asynctls.probe import downgrade
from asynctls.probe.attack import Verdict
from asynctls.probe.meeting import meet
from asynctls.probe.playbook import try_all
from tests.attacks.openssl import OLD_AND_WEAK
from tests.ports import free_port
from tests.roles.tunnelling import Others

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from asynctls.enrolment import Identity
    from tests.attacks.world import World
    from tests.conftest import Program

    Start = Callable[[Others, Identity, int], Awaitable[None]]

pytestmark = pytest.mark.one_loop


@pytest.fixture
async def others(tmp_path: Path, program: Program) -> AsyncIterator[Others]:
    """Other programs, none of which outlives its test."""
    async with AsyncExitStack() as stack:
        yield Others(tmp_path, program, stack)


def openssl(*options: str) -> Start:
    async def start(others: Others, server: Identity, port: int) -> None:
        await others.started(
            "ACCEPT",
            *(others.find("openssl"), "s_server", "-www", "-accept", f"127.0.0.1:{port}"),
            *("-cert", server.certificate_file, "-key", server.key_file),
            *("-CAfile", server.trust_file, "-Verify", "2"),
            *options,
        )

    return start


def gnutls(priority: str) -> Start:
    async def start(others: Others, server: Identity, port: int) -> None:
        await others.started(
            "listening on IPv4",
            *(others.find("gnutls-serv"), "--http", "--port", str(port), "--priority", priority),
            *("--x509certfile", server.certificate_file, "--x509keyfile", server.key_file),
            *("--x509cafile", server.trust_file, "--require-client-cert"),
        )

    return start


async def haproxy(others: Others, server: Identity, port: int) -> None:
    settings = "ssl-min-ver TLSv1.2 ciphers ECDHE+AESGCM"
    await others.haproxy(server, accept=port, connect="127.0.0.1:9", client=False, more=settings)


WELL: dict[str, Start] = {
    "openssl": openssl(
        "-cipher", "ECDHE+AESGCM", "-no_tls1", "-no_tls1_1", "-no_renegotiation", "-alpn", "h2"
    ),
    "haproxy": haproxy,
}
BADLY: dict[str, Start] = {
    "openssl": openssl(
        *("-cipher", OLD_AND_WEAK, "-client_renegotiation", "-legacy_renegotiation"),
    ),
    "gnutls": gnutls("NORMAL:+VERS-TLS1.0:+VERS-TLS1.1:+NULL:+ANON-ECDH:+ARCFOUR-128"),
}
FALLS_FOR = {
    "openssl": {
        *("TLS 1.0 alone", "TLS 1.1 alone", "TLS 1.2 stripped to 1.1"),
        *("CBC suites", "NULL suites", "anonymous suites"),
        *("secure renegotiation", "insecure renegotiation"),
    },
    # It has no insecure renegotiation, and none to offer that is bound to nothing.
    "gnutls": {
        *("TLS 1.0 alone", "TLS 1.1 alone", "TLS 1.2 stripped to 1.1"),
        *("CBC suites", "NULL suites", "weak suites", "anonymous suites"),
        "secure renegotiation",
    },
}


async def falls_for(others: Others, world: World, start: Start) -> set[str]:
    """The attacks that get through; those that take a session are not tried on any of these."""
    port = free_port()
    await start(others, world.identity("server", Profile.SERVER), port)
    target = await meet(Address("127.0.0.1", port), world.identity("client", Profile.CLIENT))
    assert not target.sessions
    findings = await try_all(target, attacks=downgrade.ATTACKS)
    untried = {each.attack for each in findings if each.verdict is Verdict.NOT_TRIED}
    assert untried == {each.name for each in downgrade.ATTACKS if each.on_sessions}
    return {each.attack for each in findings if each.verdict is Verdict.NOT_WITHSTOOD}


@pytest.mark.parametrize("other", WELL)
async def test_one_that_is_set_up_well_withstands(others: Others, world: World, other: str) -> None:
    assert await falls_for(others, world, WELL[other]) == set()


@pytest.mark.parametrize("other", BADLY)
async def test_one_that_is_set_up_badly_does_not(others: Others, world: World, other: str) -> None:
    assert await falls_for(others, world, BADLY[other]) == FALLS_FOR[other]
