"""Renewal beside a real TTP: in time, with a new key, in one step, and loud while it fails."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.enrolment import Identity, Keeper, join
from asynctls.enrolment.clock import utc_now
from asynctls.enrolment.identity import store_renewed
from asynctls.enrolment.own_contexts import OwnContexts
from asynctls.enrolment.renewal import RenewalTimer, renew, renewal_due
from asynctls.errors import EnrolmentRefusedError, TTPUnreachableError
from asynctls.pki.certificates import certificate_from_der
from asynctls.pki.keys import KeyType, generate, key_from_pem
from asynctls.state import hold_state_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOUR = timedelta(hours=1)
SOON = timedelta(seconds=10)


class Ahead:
    """Keepers' clock, that a test sets ahead until they have renewed, and that goes on as it is.

    So nobody waits for two thirds of a lifetime, and the last third of it is long enough, however
    busy the machine is.
    """

    def __init__(self) -> None:
        self._by = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._by

    def make_due(self, identity: Identity, *keepers: Keeper) -> None:
        """By its clock every keeper must have renewed by now."""
        for keeper in keepers:
            keeper.on_write(self._renewed)
        self._by = identity.renews_at + identity.lifetime / 20 - datetime.now(UTC)
        for keeper in keepers:
            keeper._timer.look_again()

    def _renewed(self, _what: str) -> None:
        self._by = timedelta(0)


async def test_a_certificate_is_renewed_with_a_new_key_and_used_at_once(
    ttp: Any, joined: Any, logged: Any
) -> None:
    first: Identity = await joined("server")
    key = first.key_file.read_bytes()
    clock = Ahead()
    async with Keeper(first, crl_interval=HOUR, clock=clock) as keeper:
        before = await keeper.server_credentials()
        written: list[str] = []
        keeper.on_write(written.append)
        clock.make_due(first, keeper)
        async with asyncio.timeout(10):
            said = await logged.until("certificate renewed")
        second = keeper.identity
        assert second == Identity.load(first.folder)
        assert (second.name, second.sans) == (first.name, first.sans)
        assert second.serial == said["serial"] != first.serial
        assert second.key_file.read_bytes() != key
        after = await keeper.server_credentials()
        assert after.context is not before.context
        assert after.certificate == second.certificate
        assert written == ["certificate"]
        assert not list(first.folder.glob("joi*"))
    assert not logged.named("TLS context not rebuilt, the last good one stays")


async def test_the_same_key_tried_again_gets_the_same_certificate(ttp: Any, joined: Any) -> None:
    identity = await joined("server")
    key = await generate(KeyType.ECDSA_P256)
    first = await renew(identity, key)
    assert await renew(identity, key) == first
    assert (await renew(identity, await generate(KeyType.ECDSA_P256))) != first


async def test_a_revoked_certificate_is_not_renewed(ttp: Any, joined: Any) -> None:
    identity = await joined("server")
    await ttp.authority.revoke("server")
    with pytest.raises(EnrolmentRefusedError, match="revoked"):
        await renew(identity, await generate(KeyType.ECDSA_P256))


async def test_where_another_process_was_first_its_identity_stays(ttp: Any, joined: Any) -> None:
    held = await joined("server")
    key = await generate(KeyType.ECDSA_P256)
    late = await renew(held, key)
    there = await joined("server")
    assert store_renewed(held, key, late) == there == Identity.load(held.folder)
    stored = store_renewed(there, key, late)
    assert certificate_from_der(stored.certificate).public_key() == key.public_key()
    assert key_from_pem(stored.key_file.read_bytes()).public_key() == key.public_key()


async def test_killed_at_any_step_of_the_swap_a_daemon_finds_the_old_identity_or_the_new(
    joined: Any, tmp_path: Path, logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on disk between two steps is what a daemon that was killed there leaves behind."""
    first: Identity = await joined("server")
    due = first.renews_at + first.lifetime / 20
    left: list[Path] = []

    def photographed(step: Callable[..., Any]) -> Callable[..., Any]:
        def before(*args: Any, **options: Any) -> Any:
            if str(args[0]).startswith(str(first.folder)):
                left.append(tmp_path / "left" / str(len(left)))
                shutil.copytree(first.folder, left[-1])
            return step(*args, **options)

        return before

    async with (
        asyncio.timeout(10),
        hold_state_folder(first.folder),
        Keeper(first, crl_interval=HOUR, holds_folder=True, clock=lambda: due),
    ):
        with monkeypatch.context() as patched:
            for name in ("open", "replace", "unlink"):
                patched.setattr(os, name, photographed(getattr(os, name)))
            await logged.until("certificate renewed")
    second = Identity.load(first.folder)
    found = []
    for folder in left:
        async with hold_state_folder(folder):
            identity = Identity.load(folder)
            await OwnContexts(partial(Identity.load, folder), clock=utc_now).server(None).get()
        found.append(identity.certificate)
        # A key whose certificate never came waits for the next renewal, which puts its own there.
        waiting = (
            {"joining-key.pem", "joining.json"}
            if identity.certificate == first.certificate
            else set()
        )
        names = {each.name for each in folder.iterdir()}
        assert names - waiting == {each.name for each in first.folder.iterdir()}
    # The old one up to the journal's being there, and from then on the new one.
    steps = len(found)
    old = found.count(first.certificate)
    assert found == [first.certificate] * old + [second.certificate] * (steps - old)
    assert old >= 8
    assert steps - old >= 10


async def test_beside_a_daemon_what_the_daemon_renews_is_taken(
    ttp: Any, joined: Any, logged: Any
) -> None:
    identity, clock = await joined("server"), Ahead()
    async with (
        hold_state_folder(identity.folder),
        Keeper(identity, crl_interval=HOUR, holds_folder=True, clock=clock) as daemon,
        Keeper(identity, crl_interval=timedelta(seconds=1), clock=clock) as beside,
    ):
        clock.make_due(identity, daemon, beside)
        async with asyncio.timeout(15):
            await logged.until("identity taken from disk")
            # Which the daemon says when it is in use, and so perhaps after it was taken.
            await logged.until("certificate renewed")
        (renewed,) = logged.named("certificate renewed")
        assert logged.named("identity taken from disk")[0]["serial"] == renewed["serial"]
        assert daemon.renewals == (1, 0)
        assert beside.identity != identity


async def test_what_another_process_renews_before_the_first_connection_is_shown_in_it(
    ttp: Any, joined: Any
) -> None:
    loaded = await joined("client")
    async with Keeper(loaded, crl_interval=HOUR) as keeper:
        renewed = await joined("client")
        credentials = await keeper.client_credentials()
        assert credentials.certificate == renewed.certificate != loaded.certificate
        assert keeper.identity == renewed


async def test_two_without_a_daemon_renew_one_identity_and_both_use_it(
    ttp: Any, joined: Any, logged: Any
) -> None:
    identity, clock = await joined("server"), Ahead()
    interval = timedelta(seconds=1)
    changed = asyncio.Event()
    async with (
        Keeper(identity, crl_interval=interval, clock=clock) as one,
        Keeper(identity, crl_interval=interval, clock=clock) as other,
        asyncio.timeout(40),
    ):
        for each in (one, other):
            each.on_change(changed.set)
        clock.make_due(identity, one, other)
        while one.identity == identity or one.identity != other.identity:
            changed.clear()
            await changed.wait()
        for each in logged.named("certificate not renewed"):
            assert "holds the state folder" in each["reason"]


async def test_while_the_ttp_is_away_it_is_tried_again_ever_louder_and_at_once_when_it_is_back(
    running_ttp: Any, tmp_path: Path, logged: Any
) -> None:
    async with running_ttp(tmp_path / "ttp") as ttp:
        identity = await join(
            tmp_path / "role",
            await ttp.token("server", lifetime=timedelta(minutes=2)),
            key_type=KeyType.ECDSA_P256,
            give_up_after=SOON,
        )
    interval, clock = timedelta(seconds=0.5), Ahead()
    async with (
        Keeper(identity, crl_interval=interval, clock=clock) as keeper,
        asyncio.timeout(20),
    ):
        clock.make_due(identity, keeper)
        await logged.until("certificate not renewed", count=3)
        assert not identity.expired(clock())
        await keeper.server_credentials()
        async with running_ttp(tmp_path / "ttp", port=identity.ttp.port):
            await logged.until("certificate renewed")
        assert keeper.identity != identity


@pytest.mark.parametrize("lifetime", [timedelta(seconds=10), timedelta(hours=24)])
async def test_renewals_are_spread_over_a_twentieth_of_the_lifetime_after_two_thirds(
    joined: Any, lifetime: timedelta
) -> None:
    asked_at = datetime.now(UTC).replace(microsecond=0)
    identity: Identity = await joined("server", lifetime=lifetime)
    issued_at = identity.not_after - identity.lifetime
    # Backdating is no time that it was in use; a certificate of seconds has none to speak of.
    assert abs(issued_at - asked_at) <= timedelta(seconds=3)
    shares = sorted((renewal_due(identity) - issued_at) / identity.lifetime for _ in range(2000))
    earliest, latest = 2 / 3, 2 / 3 + 1 / 20
    assert earliest - 1e-6 <= shares[0]
    assert shares[-1] <= latest + 1e-6
    # Evenly: by lot each tenth of the span has 200; 100 or 300 would be seven deviations away.
    tenths = Counter(int((each - earliest) * 20 * 10) for each in shares)
    assert all(100 < tenths[tenth] < 300 for tenth in range(10))


class Clock:
    """A clock that the test sets, and a renewal that is refused."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.now = identity.renews_at
        self.tries = 0
        self.timer = RenewalTimer(
            identity=lambda: self.identity, renew=self.renew, clock=lambda: self.now
        )

    async def renew(self) -> None:
        self.tries += 1
        raise TTPUnreachableError("nobody is there")


async def test_the_log_grows_louder_the_nearer_the_end_is(ttp: Any, joined: Any) -> None:
    from structlog.testing import capture_logs

    identity = replace(await joined("server"), not_after=datetime.now(UTC) + timedelta(hours=8))
    clock = Clock(replace(identity, not_before=identity.not_after - timedelta(hours=24)))
    identity = clock.identity
    levels = []
    with capture_logs() as events:
        running = asyncio.create_task(clock.timer.run())
        for share in (0.2, 0.4, 0.6, 0.8, 0.9, 0.99, 1.0):
            clock.now = identity.renews_at + identity.lifetime / 3 * share
            seen = len(events)
            clock.timer.look_again()
            while len(events) == seen:  # noqa: ASYNC110 - captured events are no asyncio.Event
                await asyncio.sleep(0)
            levels.append((events[-1]["event"], events[-1]["log_level"]))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    failed = "certificate not renewed"
    assert levels == [
        (failed, "warning"),
        (failed, "warning"),
        (failed, "error"),
        (failed, "error"),
        (failed, "critical"),
        (failed, "critical"),
        ("certificate ended", "critical"),
    ]
    assert clock.tries >= 6
