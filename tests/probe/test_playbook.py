"""How a playbook is played: within its bounds, and so that no finding says more than is known."""

from __future__ import annotations

import asyncio
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from asynctls.admission import Peer
from asynctls.config import Address
from asynctls.errors import HandshakeError
from asynctls.probe import playbook
from asynctls.probe.attack import Attack, Needs, Target, Verdict
from asynctls.probe.playbook import PLAYBOOK, try_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asynctls.probe.attack import Finding
    from asynctls.testing import CA

    Run = Callable[[Target], Awaitable[tuple[Verdict, str]]]


@pytest.fixture
def target(asynctls_ca: CA) -> Target:
    """Where nobody listens, and no sessions are."""
    client, server = asynctls_ca.identity("client"), asynctls_ca.identity("server")
    return Target(Address("127.0.0.1", 1), client, Peer.of(server.certificate), sessions=False)


def attack(
    name: str, run: Run, *, needs: Needs = Needs.NOTHING, on_sessions: bool = False
) -> Attack:
    return Attack(name, "group", "tried", "source", run, needs, on_sessions)


async def withstood(_target: Target) -> tuple[Verdict, str]:
    return Verdict.WITHSTOOD, "refused"


async def for_ever(_target: Target) -> tuple[Verdict, str]:
    await asyncio.Event().wait()
    raise AssertionError


def verdicts(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(each.attack, each.verdict.value, each.answer) for each in findings]


async def test_findings_come_in_the_order_of_the_attacks_and_are_told_as_they_come(
    target: Target,
) -> None:
    second_done = asyncio.Event()
    told = []

    async def first(_target: Target) -> tuple[Verdict, str]:
        await second_done.wait()
        return Verdict.WITHSTOOD, "refused"

    async def second(_target: Target) -> tuple[Verdict, str]:
        second_done.set()
        return Verdict.NOT_WITHSTOOD, "agreed"

    findings = await try_all(
        target,
        attacks=[attack("first", first), attack("second", second)],
        told=lambda attack, finding: told.append((attack.name, finding.verdict)),
    )
    assert verdicts(findings) == [
        ("first", "withstood", "refused"),
        ("second", "NOT withstood", "agreed"),
    ]
    assert told == [("second", Verdict.NOT_WITHSTOOD), ("first", Verdict.WITHSTOOD)]


@pytest.mark.parametrize(
    ("untried", "takes"),
    [
        (attack("a", for_ever, needs=Needs.TTP_STATE), "it takes --ttp-state"),
        (attack("a", for_ever, needs=Needs.EXHAUST), "it takes --exhaust"),
        (attack("a", for_ever, on_sessions=True), "it takes a server that has sessions"),
    ],
)
async def test_what_was_not_given_is_not_tried_and_says_what_it_takes(
    target: Target, untried: Attack, takes: str
) -> None:
    (finding,) = await try_all(target, attacks=[untried])
    assert finding.verdict is Verdict.NOT_TRIED
    assert finding.answer.startswith(takes)


async def test_who_cannot_reach_the_server_says_nothing_of_it(target: Target) -> None:
    """The first attack of the playbook itself, where nobody listens."""

    async def damaged(_target: Target) -> tuple[Verdict, str]:
        raise HandshakeError("nothing came of it")

    findings = await try_all(target, attacks=[PLAYBOOK[0], attack("damaged", damaged)])
    assert {each.verdict for each in findings} == {Verdict.NOT_TRIED}
    assert "cannot be reached" in findings[0].answer
    assert findings[1].answer == "it could not be tried: nothing came of it"


@pytest.mark.one_loop
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses at once")
async def test_a_server_whose_packets_are_swallowed_once_it_was_met_has_withstood_nothing(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playbook, "_LAST_S", 0.3)
    # They connect by different ways.
    names = ("SSL 3.0 alone", "relay that passes the frames on", "no certificate")
    attacks = [each for each in PLAYBOOK if each.name in names]
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        address = Address(*deaf.getsockname())
        # Whoever comes after this one is not answered: the queue is full.
        with socket.create_connection(deaf.getsockname()):
            *findings, last = await try_all(
                replace(target, address=address, sessions=True), attacks=[*attacks, PLAYBOOK[-1]]
            )
    assert {each.verdict for each in findings} == {Verdict.NOT_TRIED}
    hand_made, relayed, honest = (each.answer for each in findings)
    assert hand_made == f"it could not be tried: the server at {address} did not answer within 2 s"
    assert relayed.startswith("nothing within 2 s, without READY; but an honest client is not ser")
    assert relayed.endswith(": no answer came in time")
    assert honest == "it could not be tried: no answer came in time"
    assert last.verdict is Verdict.NOT_WITHSTOOD
    assert last.answer == "an honest client is not served within 0.3 s"


async def test_no_attack_goes_on_when_the_time_is_over(target: Target) -> None:
    many = [attack(f"attack {number}", for_ever) for number in range(20)]
    findings = await try_all(target, attacks=many, within_s=0.05)
    assert {(each.verdict, each.answer) for each in findings} == {
        (Verdict.NOT_TRIED, "it takes more time than there was")
    }


async def test_what_loads_the_server_comes_last_and_one_after_another(target: Target) -> None:
    running: list[str] = []
    seen: list[list[str]] = []

    def noting(name: str) -> Run:
        async def run(_target: Target) -> tuple[Verdict, str]:
            running.append(name)
            await asyncio.sleep(0)
            seen.append(running.copy())
            running.remove(name)
            return Verdict.WITHSTOOD, "refused"

        return run

    loading = [attack(f"load {n}", noting(f"load {n}"), needs=Needs.EXHAUST) for n in range(2)]
    other = attack("other", noting("other"))
    findings = await try_all(target, given={Needs.EXHAUST}, attacks=[*loading, other])
    assert seen == [["other"], ["load 0"], ["load 1"]]
    assert [each.attack for each in findings] == ["load 0", "load 1", "other"]
