"""Exhaustion: somebody who would have the server serve nobody else, or run out of memory.

While each attack goes on for a few seconds, from an address of its own where there is one, a
well-behaved client connects again and again. Withstood means that it is served all the while, and
that the server's memory, where it can be seen from here, grows by no more than such a number of
connections explains.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING

from asynctls.probe import burdens
from asynctls.probe.attack import PATIENCE_S, Attack, Needs, Verdict
from asynctls.probe.attacker import Attacker
from asynctls.probe.bystander import Bystander
from asynctls.probe.clients import careless, honest
from asynctls.probe.footprint import Memory, listeners
from asynctls.tls.closing import hang_up

if TYPE_CHECKING:
    from asynctls.config import Address
    from asynctls.probe.attack import Target

__all__ = ["ATTACKS", "GROWTH_MIB", "P99_S"]

P99_S = 1.0
"""Within which 99 of 100 well-behaved clients must be served, in seconds.

On top of what it takes them without an attack, which a far server, or a busy machine, has part in.
"""

GROWTH_MIB = 64
"""By how much the server's memory may grow under such an attack, in MiB."""

_BEGINS_WITHIN_S = 10.0
_HEAD_START_S = 1.0
# So much longer than the limit is each stretch: whoever is not served in it is late for certain.
_BEYOND_S = 4.0
# A machine that was busy with something else once looks like a server that is worn out.
_STRETCHES = 3
_LOOK_EVERY_S = 0.2
_TIMES_BEFORE = 10
_GROUP = "exhaustion"
# An attacker's own on loopback, which shares no limit with the well-behaved client.
_ATTACKERS_ADDRESS = "127.0.0.2"

_Burden = Callable[[Attacker], Coroutine[None, None, None]]


async def _load(target: Target, *, burden: _Burden) -> tuple[Verdict, str]:
    host, is_here = await _reach(target.address)
    on_loopback = host.startswith("127.")
    us = target.identity
    client = await honest(target)
    memory = Memory(
        await asyncio.to_thread(listeners, host, target.address.port) if is_here else ()
    )
    attacker = Attacker(
        target,
        await careless(target, us.store, certificate=us.certificate),
        host=host,
        local_address=_ATTACKERS_ADDRESS if on_loopback else None,
    )
    before = Bystander(target, client)
    await before.connect_again_and_again(times=_TIMES_BEFORE)
    if before.p99_s == math.inf:
        return Verdict.NOT_TRIED, "it takes a server that serves us also without an attack"
    limit_s = P99_S + before.p99_s
    await memory.look()
    async with asyncio.TaskGroup() as tasks:
        attacking = tasks.create_task(burden(attacker))
        if not await _begins(attacker):
            attacking.cancel()
            return Verdict.NOT_TRIED, "the server took none of the attackers' connections"
        for _ in range(_STRETCHES):
            meanwhile = Bystander(target, client)
            connecting = tasks.create_task(meanwhile.connect_again_and_again())
            await _look_on(attacker, memory, for_s=limit_s + _BEYOND_S)
            served, p99_s = meanwhile.served, meanwhile.p99_s
            connecting.cancel()
            done = p99_s < limit_s and not attacker.unshown
            if done or _has_got_through(attacker, memory):
                break
        attacking.cancel()
    return _judged(attacker, memory, served, p99_s, limit_s=limit_s, on_loopback=on_loopback)


def _judged(
    attacker: Attacker,
    memory: Memory,
    served: int,
    p99_s: float,
    *,
    limit_s: float,
    on_loopback: bool,
) -> tuple[Verdict, str]:
    """What the last stretch shows."""
    refusals = (f"{what} was answered by {by}" for what, by in sorted(attacker.refused.items()))
    answer = "; ".join(
        (*sorted(attacker.got_through), *refusals, _service(served, p99_s), memory.words)
    )
    if _has_got_through(attacker, memory) or (p99_s >= limit_s and on_loopback):
        return Verdict.NOT_WITHSTOOD, answer
    if p99_s >= limit_s:
        return Verdict.NOT_TRIED, (
            f"{answer}; but it came from the attackers' address, which a server rightly gives a "
            "part of its places alone: run this on the server's own host, over loopback"
        )
    if attacker.unshown:
        unshown = ", ".join(sorted(attacker.unshown))
        return Verdict.NOT_TRIED, f"{answer}; but nothing shows that it had {unshown}"
    return Verdict.WITHSTOOD, answer


async def _begins(attacker: Attacker) -> bool:
    """Waits until the attack is under way, for all of its connections to come about."""
    try:
        async with asyncio.timeout(_BEGINS_WITHIN_S):
            await attacker.begun.wait()
    except TimeoutError:
        return False
    await asyncio.sleep(_HEAD_START_S)
    return True


async def _look_on(attacker: Attacker, memory: Memory, *, for_s: float) -> None:
    """For one stretch; what has got through is not to go on until the server is dead."""
    loop = asyncio.get_running_loop()
    end = loop.time() + for_s
    while loop.time() < end and not _has_got_through(attacker, memory):
        await asyncio.sleep(_LOOK_EVERY_S)
        await memory.look()


def _has_got_through(attacker: Attacker, memory: Memory) -> bool:
    return bool(attacker.got_through) or memory.grown_mib >= GROWTH_MIB


def _service(served: int, p99_s: float) -> str:
    within = "others not at all" if p99_s == math.inf else f"p99 {1000 * p99_s:.0f} ms"
    return f"meanwhile {served} well-behaved clients were served, {within}"


async def _reach(address: Address) -> tuple[str, bool]:
    """The server's IP address, and whether that is one of this machine's."""
    async with asyncio.timeout(PATIENCE_S):
        _, writer = await asyncio.open_connection(address.host, address.port)
    its, ours = (str(writer.get_extra_info(name)[0]) for name in ("peername", "sockname"))
    await hang_up(writer)
    return its, its == ours or its.startswith("127.")


def _attack(name: str, tried: str, source: str, burden: _Burden) -> Attack:
    return Attack(
        name=name,
        group=_GROUP,
        tried=tried,
        source=source,
        run=partial(_load, burden=burden),
        needs=Needs.EXHAUST,
    )


ATTACKS: tuple[Attack, ...] = (
    _attack(
        "slow handshakes",
        f"{burdens.CONNECTIONS} connections that say a ClientHello byte by byte",
        "Slowloris; CWE-400",
        burdens.slow_handshakes,
    ),
    _attack(
        "handshakes opened and left",
        f"{burdens.CONNECTIONS} connections that say a ClientHello, or nothing, and stay",
        "RFC 4732, section 2.1.2; CWE-770",
        burdens.left_handshakes,
    ),
    _attack(
        "alerts never read",
        f"{burdens.CONNECTIONS} connections that provoke a fatal alert, read nothing and stay",
        "RFC 4732, section 2.1.2; CWE-772",
        burdens.alerts_never_read,
    ),
    _attack(
        "oversized lengths",
        "a record of 64 KiB, a ClientHello of 16 MiB, a frame of 1 GiB: their heads, and 1 MiB",
        "RFC 5246, section 6.2.1; CWE-789",
        burdens.oversized_lengths,
    ),
    _attack(
        "flood of tiny frames",
        f"{burdens.MEMBERS} members that send a message byte by byte, as fast as they can",
        "CVE-2019-9518; CWE-400",
        burdens.tiny_frames,
    ),
    _attack(
        "windows that never open",
        f"{burdens.CONNECTIONS} strangers and {burdens.MEMBERS} members that read nothing, with "
        "windows of 2 KiB",
        "CVE-2019-9517; CVE-2008-4609",
        burdens.closed_windows,
    ),
)
