"""`asynctls probe`: an honest connection, and then the playbook."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from asynctls.enrolment import Identity
from asynctls.errors import ProbeError
from asynctls.logger import get_logger
from asynctls.pki.certificates import fingerprint
from asynctls.probe.attack import Needs
from asynctls.probe.certifier import Certifier
from asynctls.probe.meeting import meet
from asynctls.probe.playbook import try_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asynctls.config import Address, ProbeConfig, TTPConfig
    from asynctls.probe.attack import Attack, Finding

__all__ = ["probe"]

log = get_logger()

# Within 40 s of its start the command is to end, if it has not loaded the server. To start takes
# part of them, and another honest connection at the end.
_ATTACKS_END_S = 31.0


async def probe(
    address: Address,
    config: ProbeConfig,
    *,
    ttp: TTPConfig | None = None,
    told: Callable[[Attack, Finding], None],
) -> list[Finding]:
    """Tries the whole playbook on a server.

    Args:
        address: the server's.
        config: the command's settings.
        ttp: those of the TTP whose state folder is at hand; None: none is.
        told: is told of each finding as it comes.

    Returns:
        A finding for each attack, in the playbook's order.

    Raises:
        IdentityError: there is no identity to try it with.
        ProbeError: the server serves no honest client; the TTP is not the one of both.
        StateError: there is no TTP in that folder, or it cannot be used.
    """
    now = asyncio.get_running_loop().time
    end = now() + _ATTACKS_END_S
    identity = await asyncio.to_thread(Identity.load, config.state)
    given = {Needs.EXHAUST} if config.exhaust else set()
    target = await meet(address, identity, server_name=config.server_name)
    log.info(
        "probing",
        address=str(address),
        peer=str(target.server),
        names=list(target.server.sans),
        sessions=target.sessions,
    )
    async with AsyncExitStack() as stack:
        if ttp is not None:
            certifier = await stack.enter_async_context(await Certifier.beside(ttp))
            _check_root(certifier, ttp.state, identity)
            target = replace(target, ttp=certifier)
            given.add(Needs.TTP_STATE)
        return await try_all(target, within_s=end - now(), given=given, told=told)


def _check_root(certifier: Certifier, folder: Path, identity: Identity) -> None:
    if fingerprint(certifier.root) != identity.root_sha256:
        # What another CA made would be refused whatever else is wrong with it.
        raise ProbeError(
            f"the TTP in {folder} has another root than the one that {identity.name} trusts: "
            "name the state folder of the TTP that both joined"
        )
