"""A TTP that is away for hours costs a server nothing but warnings, until its certificate ends.

The hours are those of the keeper's clock, which the test sets; TLS has the machine's.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import asynctls
from asynctls.enrolment import Identity, Keeper, join
from asynctls.pki.keys import KeyType
from asynctls.pki.names import format_serial
from asynctls.server import library

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.conftest import LogWatch, RunningTTP

LIFETIME = timedelta(hours=24)


async def echo(session: asynctls.Session) -> None:
    async for message in session:
        await session.send(message)


async def is_answered(session: asynctls.Session) -> bool:
    await session.send(b"are you there?")
    return await session.receive() == b"are you there?"


async def test_a_ttp_that_is_away_for_hours_costs_nobody_a_connection(
    tmp_path: Path,
    running_ttp: RunningTTP,
    logged: LogWatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_ttp(tmp_path / "ttp") as ttp:
        ours, client = [
            await join(
                tmp_path / name,
                await ttp.token(name, lifetime=LIFETIME),
                key_type=KeyType.ECDSA_P256,
                give_up_after=timedelta(seconds=10),
            )
            for name in ("server", "client")
        ]
    now = datetime.now(UTC)
    keepers: list[Keeper] = []

    def keeper_with_clock(identity: Identity, **options: timedelta) -> Keeper:
        keepers.append(Keeper(identity, **options, clock=lambda: now))  # type: ignore[arg-type]
        return keepers[0]

    monkeypatch.setattr(library, "Keeper", keeper_with_clock)
    serving = partial(library.serving, echo, "127.0.0.1:0", identity=ours, allow=["client"])
    connect = partial(asynctls.connect, server_name="server", identity=client)
    async with asyncio.timeout(30), serving() as address, connect(str(address)) as live:
        levels = []
        # Of the eight from two thirds of its lifetime to its end; by the second it is due.
        for hours in (2, 3.9, 4.1, 6.6, 6.7, 7.9):
            now = ours.renews_at + timedelta(hours=hours)
            failures = len(logged.named("certificate not renewed"))
            keepers[0]._timer.look_again()
            said = await logged.until("certificate not renewed", count=failures + 1)
            assert "cannot be reached" in said["reason"]
            levels.append(said["log_level"])
            assert await is_answered(live)
            async with connect(str(address)) as fresh:
                assert await is_answered(fresh)
                assert format_serial(fresh.peer.serial_number) == ours.serial
        assert levels == ["warning"] * 2 + ["error"] * 2 + ["critical"] * 2
        async with running_ttp(tmp_path / "ttp", port=ours.ttp.port):
            keepers[0]._timer.look_again()
            renewed = await logged.until("certificate renewed")
            now = datetime.now(UTC)
            assert await is_answered(live)
            async with connect(str(address)) as fresh:
                assert format_serial(fresh.peer.serial_number) == renewed["serial"] != ours.serial
