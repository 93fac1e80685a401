"""kill -9 of each role at random moments under load: what is started again works by itself.

Senders number their messages and send each once, and a client follows. Then it is counted: what
had its receipt was taken and nothing came twice, the ledger's chain holds, each identity is whole.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynctls.client.connecting import open_session
from asynctls.config import Address
from asynctls.enrolment import Keeper
from asynctls.errors import AsynctlsError
from asynctls.session import Limits
from asynctls.ttp.authority import Authority
from tests.faults.fleet import Fleet
from tests.roles.keeping import kept

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from asynctls.enrolment import Identity
    from tests.roles.processes import Daemons

pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(0)]

SENDERS = 2
# Renewed at two thirds of it; longer than a role takes to start on a machine that is busy.
LIFETIME = timedelta(seconds=60)
HOUR = timedelta(hours=1)
PAUSE_S = 0.1


@dataclass(slots=True)
class Sent:
    """What was sent and had its receipt, session by session, in order."""

    sessions: list[list[bytes]] = field(default_factory=list)
    count: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, session: list[bytes], message: bytes) -> None:
        session.append(message)
        self.count += 1
        self._news.set()

    async def more(self, count: int) -> None:
        """Waits for so many receipts from now on."""
        wanted = self.count + count
        async with asyncio.timeout(60):
            while self.count < wanted:
                self._news.clear()
                await self._news.wait()


async def send_on(fleet: Fleet, identity: Identity, number: int, sent: Sent) -> None:
    """One message after another, none of them again; a session that ends is followed by another."""
    count = 0
    async with Keeper(identity, crl_interval=HOUR) as keeper:
        while True:
            with_receipt: list[bytes] = []
            sent.sessions.append(with_receipt)
            with suppress(AsynctlsError):
                async with open_session(
                    keeper,
                    Address.parse(fleet.server_at),
                    server_name="server",
                    timeout_s=10,
                    limits=Limits(),
                ) as session:
                    while not session.going_away:
                        count += 1
                        message = b"%d of sender %d" % (count, number)
                        await session.send(message, receipt=True)
                        sent.note(with_receipt, message)
            await asyncio.sleep(PAUSE_S)


async def test_kill_9_of_each_role_loses_and_doubles_nothing(
    asynctls: Daemons,
    chance: random.Random,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    is_long = request.config.getoption("--long", default=False)
    rounds, lifetime = (30, 4 * LIFETIME) if is_long else (1, LIFETIME)
    kills = [role for _ in range(rounds) for role in chance.sample(Fleet.roles, len(Fleet.roles))]
    # What is counted here is messages; asyncio's looking closely is dear, and others have it.
    asynctls.variables["PYTHONASYNCIODEBUG"] = "0"
    fleet, sent, begun = Fleet(asynctls, tmp_path, lifetime=lifetime), Sent(), time.monotonic()
    async with fleet.running():
        identity = await fleet.identity("client", "sender")
        senders = [
            asyncio.create_task(send_on(fleet, identity, number, sent)) for number in range(SENDERS)
        ]
        try:
            for role in kills:
                await sent.more(chance.randint(1, 100))
                await fleet.kill(role, chance)
            await sent.more(1)
        finally:
            for sender in senders:
                sender.cancel()
            await asyncio.gather(*senders, return_exceptions=True)
    async with await Authority.beside(fleet.config) as authority:
        # From its first row to its last.
        await authority.verify()
        listed = {each.serial for each in await authority.list_certificates()}
    for found in fleet.identities():
        assert found.serial in listed
    came = Counter(kept(tmp_path / "home"))
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(kills)} kills and {sent.count} messages with a receipt in "
            f"{time.monotonic() - begun:.0f} s "
        )
    lost = [message for session in sent.sessions for message in session if message not in came]
    # A receipt says that the app has taken a message, not what it has done with it: between the
    # two lies one step of one process, the last that it took before it was killed.
    assert set(lost) <= {session[-1] for session in sent.sessions if session}
    assert len(lost) <= len(kills)
    doubled = [message for message, times in came.items() if times > 1 and b"sender" in message]
    assert not doubled
    # What the client sends again may come twice; that nothing is missing is what it is for.
    assert set(fleet.lines) <= set(came)
