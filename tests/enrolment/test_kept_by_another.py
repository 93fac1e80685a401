"""A worker's identity: what the process that keeps it has written is taken, nothing is fetched."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from asynctls.admission import Anyone, Peer, StaleCRL, admit_again
from asynctls.alerts import Alert
from asynctls.enrolment import Keeper, crls, kept_by_another
from asynctls.enrolment import folder as folders
from asynctls.enrolment.health import identity_troubles
from asynctls.enrolment.kept_by_another import KeptByAnother
from asynctls.errors import StateError

if TYPE_CHECKING:
    import pytest

    from asynctls.enrolment import Identity

HOUR = timedelta(hours=1)


def kept(identity: Identity, asked: list[str]) -> KeptByAnother:
    return KeptByAnother(identity, stale_crl=StaleCRL.REFUSE, ask=lambda: asked.append("asked"))


async def changed(keeper: Keeper) -> asyncio.Event:
    event = asyncio.Event()
    keeper.on_change(event.set)
    return event


async def test_what_another_renews_and_fetches_is_taken_when_told(
    ttp: Any, joined: Any, logged: Any
) -> None:
    identity = await joined("server")
    peer = Peer.of((await joined("client")).certificate)
    asked: list[str] = []
    async with (
        asyncio.timeout(20),
        Keeper(identity, crl_interval=HOUR, holds_folder=True) as keeper,
        kept(identity, asked) as worker,
    ):
        keeper.on_write(lambda _what: worker.look())
        before = await worker.server_credentials()
        news = await changed(worker)
        await ttp.authority.revoke("client")
        await keeper.refresh_crl()
        await news.wait()
        rules = worker.rules(Anyone(), alpn=None)
        assert admit_again(peer, now=datetime.now(UTC), rules=rules).alert is (
            Alert.CERTIFICATE_REVOKED
        )
        news.clear()
        await keeper._renew_once()
        await news.wait()
        assert worker.identity == keeper.identity != identity
        assert (await worker.server_credentials()).certificate == keeper.identity.certificate
        assert before.certificate == identity.certificate
        assert len(logged.named("identity taken from disk")) == 1
        # One who is refused has the other process asked, and nobody else.
        worker.refresh_soon()
        assert asked == ["asked"]


async def test_a_disk_that_is_full_keeps_no_revoked_peer_in_a_worker_either(
    ttp: Any, joined: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: object, content: bytes, *, mode: int) -> None:
        raise StateError("the disk is full")

    identity = await joined("server")
    peer = Peer.of((await joined("client")).certificate)
    async with (
        asyncio.timeout(20),
        Keeper(identity, crl_interval=HOUR, holds_folder=True) as keeper,
        kept(identity, []) as worker,
    ):
        keeper.on_change(lambda: worker.look(crls.to_pem(keeper.crls)))
        news = await changed(worker)
        await ttp.authority.revoke("client")
        monkeypatch.setattr(folders, "write_atomically", full)
        await keeper.refresh_crl()
        await news.wait()
        rules = worker.rules(Anyone(), alpn=None)
        assert admit_again(peer, now=datetime.now(UTC), rules=rules).alert is (
            Alert.CERTIFICATE_REVOKED
        )


async def test_what_cannot_be_taken_is_told_and_what_was_in_use_stays(
    ttp: Any, joined: Any, logged: Any
) -> None:
    identity = await joined("server")
    async with asyncio.timeout(20), kept(identity, []) as worker:
        identity.certificate_file.write_text("no certificate")
        worker.look()
        await logged.until("state folder not taken")
        assert worker.identity == identity
        assert len(worker.crls) == 2


async def test_a_fault_in_one_look_does_not_end_all_later_ones(
    ttp: Any, joined: Any, logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(_identity: Identity) -> None:
        raise RuntimeError("nobody foresaw it")

    identity = await joined("server")
    async with (
        asyncio.timeout(20),
        Keeper(identity, crl_interval=HOUR, holds_folder=True) as keeper,
        kept(identity, []) as worker,
    ):
        monkeypatch.setattr(kept_by_another, "_AGAIN_S", 0.01)
        with monkeypatch.context() as patch:
            patch.setattr(crls, "on_disk", faulty)
            worker.look()
            await logged.until("state folder not taken")
        news = await changed(worker)
        await keeper._renew_once()
        worker.look()
        await news.wait()
        assert worker.identity == keeper.identity


async def test_it_says_when_nobody_would_be_let_in(ttp: Any, joined: Any) -> None:
    identity = await joined("server", lifetime=HOUR)
    async with kept(identity, []) as worker:
        assert identity_troubles(worker) == []
        later = identity_troubles(worker, clock=lambda: datetime.now(UTC) + 30 * HOUR)
        assert [each.split(" on ")[0] for each in later] == [
            "the certificate expired",
            "a CRL ended",
        ]
        sooner = identity_troubles(worker, clock=lambda: datetime.now(UTC) - HOUR)
        assert [each.split(" from ")[0] for each in sooner] == ["the certificate is valid"]
        worker._crls = ()
        assert identity_troubles(worker) == ["there is no CRL"]
        worker._stale_crl = StaleCRL.GO_ON
        assert identity_troubles(worker) == []
