"""The playbook: every attack, tried on one server within bounds, each with its finding."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asynctls.errors import AsynctlsError, ProbeError
from asynctls.probe import downgrade, exhaustion, identity, man_in_the_middle, replay
from asynctls.probe.attack import Attack, Finding, Needs, Target, Verdict
from asynctls.probe.meeting import meet

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

__all__ = ["PLAYBOOK", "try_all"]

_AT_ONCE = 4
_LOADING_S = 60.0
_LAST_S = 5.0


async def _still_serves(target: Target) -> tuple[Verdict, str]:
    try:
        async with asyncio.timeout(_LAST_S):
            await meet(target.address, target.identity, server_name=target.server_name)
    except ProbeError as error:
        return Verdict.NOT_WITHSTOOD, str(error)
    except TimeoutError:
        return Verdict.NOT_WITHSTOOD, f"an honest client is not served within {_LAST_S:g} s"
    return Verdict.WITHSTOOD, "served an honest client"


_AFTERWARDS = Attack(
    name="all of it together",
    group="exhaustion",
    tried="an honest connection again, when everything else was over",
    source="RFC 4732, section 2.1.1",
    run=_still_serves,
)

PLAYBOOK: tuple[Attack, ...] = (
    *downgrade.ATTACKS,
    *man_in_the_middle.ATTACKS,
    *replay.ATTACKS,
    *identity.ATTACKS,
    *exhaustion.ATTACKS,
    _AFTERWARDS,
)
"""In the order of the table."""

_IT_TAKES = {
    Needs.TTP_STATE: "--ttp-state, the state folder of the server's TTP",
    Needs.EXHAUST: "--exhaust, since it loads the server",
}


async def try_all(
    target: Target,
    *,
    within_s: float = 30.0,
    given: Collection[Needs] = (),
    attacks: Sequence[Attack] = PLAYBOOK,
    told: Callable[[Attack, Finding], None] = lambda _attack, _finding: None,
) -> list[Finding]:
    """Tries attacks, a few at a time; then those that load the server, one after another.

    At last comes another honest connection: a server that is down by then has withstood nothing.

    Args:
        target: the server, which an honest client was served by.
        within_s: how long all may take together, but for those that load the server, of which each
            may take a minute; what does not get its turn is not tried.
        given: what the caller has given beyond an identity.
        attacks: which ones.
        told: is told of each finding as it comes, for a progress line.

    Returns:
        A finding for each attack, in their order.
    """
    now = asyncio.get_running_loop().time
    end = now() + within_s
    places = asyncio.Semaphore(_AT_ONCE)
    findings: dict[str, Finding] = {}

    async def find(attack: Attack, until: float) -> None:
        missing = _missing(attack, target, given)
        if missing is not None:
            verdict, answer = Verdict.NOT_TRIED, f"it takes {missing}"
        else:
            async with places:
                verdict, answer = await _try(attack, target, until)
        findings[attack.name] = Finding(
            attack=attack.name,
            tried=attack.tried,
            answer=answer,
            verdict=verdict,
            source=attack.source,
        )
        told(attack, findings[attack.name])

    alone = [each for each in attacks if each.needs is Needs.EXHAUST or each is _AFTERWARDS]
    async with asyncio.TaskGroup() as tasks:
        for attack in attacks:
            if attack not in alone:
                tasks.create_task(find(attack, end))
    for attack in alone:
        await find(attack, now() + _LOADING_S)
    return [findings[attack.name] for attack in attacks]


def _missing(attack: Attack, target: Target, given: Collection[Needs]) -> str | None:
    if attack.needs is not Needs.NOTHING and attack.needs not in given:
        return _IT_TAKES[attack.needs]
    if attack.on_sessions and not target.sessions:
        return "a server that has sessions (asynctls/1): this one speaks TLS alone"
    return None


async def _try(attack: Attack, target: Target, until: float) -> tuple[Verdict, str]:
    limit = asyncio.timeout_at(until)
    try:
        async with limit:
            return await attack.run(target)
    except (AsynctlsError, OSError) as error:
        if limit.expired():
            return Verdict.NOT_TRIED, "it takes more time than there was"
        # Nobody knows what the server would have done.
        return Verdict.NOT_TRIED, f"it could not be tried: {str(error) or 'no answer came in time'}"
