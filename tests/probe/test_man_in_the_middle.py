"""Where there is nothing to stand between, the probe says what it would take."""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from asynctls.pki.profiles import Profile
from asynctls.probe.attack import Needs, Verdict
from asynctls.probe.playbook import PLAYBOOK, try_all
from asynctls.probe.relays import everybody, listening
from tests.attacks.victims import server_of, target_of
from tests.attacks.world import World

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from asynctls.probe.attack import Finding, Target

pytestmark = pytest.mark.one_loop


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def found(name: str, target: Target) -> Finding:
    attacks = [each for each in PLAYBOOK if each.name == name]
    (finding,) = await try_all(target, given=set(Needs), attacks=attacks)
    return finding


async def test_a_server_with_our_own_name_is_not_told_from_us(world: World) -> None:
    server = server_of(world, world.holder("server", Profile.SERVER))
    async with server.serving() as served:
        target = target_of(world, served.address)
        same = replace(target, identity=world.identity("server", Profile.SERVER))
        finding = await found("relay with the caller's certificate", same)
    assert finding.verdict is Verdict.NOT_TRIED
    assert finding.answer == "it takes an identity of another name than the server's"


async def test_a_message_that_does_not_go_by_cannot_be_changed(world: World) -> None:
    server = server_of(world, world.holder("server", Profile.SERVER))
    server.context.options |= ssl.OP_NO_TICKET
    async with replace(server, admit=everybody).serving() as served:
        finding = await found(
            "bit flipped in the server's NewSessionTicket", target_of(world, served.address)
        )
    assert finding.verdict is Verdict.NOT_TRIED
    assert finding.answer.startswith("there was no NewSessionTicket to change")


async def test_without_session_tickets_none_can_be_used(world: World) -> None:
    server = server_of(world, world.holder("server", Profile.SERVER))
    server.context.options |= ssl.OP_NO_TICKET
    async with replace(server, admit=everybody).serving() as served:
        finding = await found("ticket of an expired certificate", target_of(world, served.address))
    assert finding.verdict is Verdict.NOT_TRIED
    assert finding.answer == "it takes a server that gives session tickets"


async def test_a_server_that_closes_whatever_is_said_has_withstood_nothing(world: World) -> None:
    async def close(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        pass

    attacks = [each for each in PLAYBOOK if each.group in ("man in the middle", "replay")]
    async with listening(close) as address:
        findings = await try_all(target_of(world, address), given=set(Needs), attacks=attacks)
    withstood = [each.answer for each in findings if each.verdict is Verdict.WITHSTOOD]
    # What our own client has withstood, the server has no part in.
    assert all(answer.startswith("our client refused") for answer in withstood)
    assert [each.attack for each in findings if each.verdict is Verdict.NOT_WITHSTOOD] == []
