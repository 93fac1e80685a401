"""A keeper beside a real TTP: fresh CRLs, fresh contexts, and what it does without the TTP."""

from __future__ import annotations

import asyncio
import errno
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.admission import Anyone, Peer, Refused, StaleCRL, admit_again
from asynctls.alerts import Alert
from asynctls.enrolment import Identity, Keeper, connection, crls, join
from asynctls.enrolment import folder as folders
from asynctls.enrolment.crls import from_pem
from asynctls.errors import CertificateError, IdentityError, StateError
from asynctls.pki.certificates import certificates_from_pem
from asynctls.pki.keys import KeyType
from asynctls.pki.profiles import Profile
from asynctls.pki.status import RevocationList, read_crl

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import AMinuteAgo

HOUR = timedelta(hours=1)
NOW = datetime.now(UTC).replace(microsecond=0)
SOON = timedelta(seconds=10)
PATIENCE_S = 30.0


def numbers(keeper: Keeper) -> list[int]:
    return [each.number for each in keeper.crls]


async def test_a_revocation_is_taken_told_and_kept(
    ttp: Any, joined: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = await joined("server")
    other = await joined("client")
    changes: list[str] = []
    async with Keeper(identity, crl_interval=HOUR) as keeper:
        keeper.on_change(lambda: changes.append("changed"))
        context = await keeper.server_credentials()
        assert await keeper.server_credentials() is context
        await ttp.authority.revoke("client")
        await keeper.refresh_crl()
        assert changes == ["changed"]
        assert await keeper.server_credentials() is not context
        verdict = admit_again(
            Peer.of(other.certificate),
            now=datetime.now(UTC),
            rules=keeper.rules(Anyone(), alpn=None),
        )
        assert isinstance(verdict, Refused)
        assert verdict.alert is Alert.CERTIFICATE_REVOKED
        on_disk = from_pem(
            identity.crl_file.read_text(), certificates_from_pem(identity.trust.encode())
        )
        assert on_disk == keeper.crls
        # The same again changes nothing, and is not even read: a fleet asks every minute.
        written = identity.crl_file.stat().st_mtime_ns
        monkeypatch.setattr(crls, "read_crl", None)
        await keeper.refresh_crl()
        assert changes == ["changed"]
        assert identity.crl_file.stat().st_mtime_ns == written


async def test_a_new_list_which_may_be_long_is_read_in_a_thread(
    ttp: Any, joined: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def in_thread(read: Any) -> Any:
        def recorded(*arguments: Any) -> Any:
            threads.append(threading.current_thread())
            return read(*arguments)

        return recorded

    identity = await joined("server")
    await joined("client")
    async with Keeper(identity, crl_interval=HOUR) as keeper:
        monkeypatch.setattr(crls, "read_crl", in_thread(read_crl))
        monkeypatch.setattr(crls, "to_pem", in_thread(crls.to_pem))
        await ttp.authority.revoke("client")
        await keeper.refresh_crl()
    # Read as it came, and made PEM for the disk.
    assert len(threads) == 2
    assert threading.main_thread() not in threads


def test_lists_revoke_the_same_whatever_else_they_say() -> None:
    first = RevocationList(
        b"issuer", b"key", "issuer", 1, NOW, NOW + HOUR, frozenset({5, 6}), b"first"
    )
    later = replace(first, number=2, der=b"later", serials=frozenset({6, 5}))
    more = replace(later, serials=frozenset({5, 6, 7}))
    empty = replace(first, authority_key_id=b"other", serials=frozenset(), der=b"empty")
    assert crls.revoke_the_same([first], [later])
    assert crls.revoke_the_same([first], [empty, later])
    assert not crls.revoke_the_same([first], [more])
    assert not crls.revoke_the_same([first], [])


async def test_a_disk_that_is_full_keeps_no_revoked_peer_in(
    ttp: Any, joined: Any, logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: object, content: bytes, *, mode: int) -> None:
        raise StateError("the disk is full")

    identity = await joined("server")
    peer = Peer.of((await joined("client")).certificate)
    async with Keeper(identity, crl_interval=HOUR) as keeper:
        on_disk = identity.crl_file.read_bytes()
        await ttp.authority.revoke("client")
        with monkeypatch.context() as patch:
            patch.setattr(folders, "write_atomically", full)
            await keeper.refresh_crl()
        assert logged.named("CRL not fetched")[0]["reason"] == "the disk is full"
        verdict = admit_again(peer, now=datetime.now(UTC), rules=keeper.rules(Anyone(), alpn=None))
        assert verdict.alert is Alert.CERTIFICATE_REVOKED
        assert identity.crl_file.read_bytes() == on_disk
        await keeper.refresh_crl()
        assert identity.crl_file.read_bytes() != on_disk


async def test_the_crls_are_fetched_at_the_start_and_then_at_each_interval(
    ttp: Any, joined: Any, logged: Any
) -> None:
    identity = await joined("server")
    await joined("client")
    await ttp.authority.revoke("client")
    taken = asyncio.Event()
    async with Keeper(identity, crl_interval=timedelta(seconds=0.05)) as keeper:
        assert any(each.serials for each in keeper.crls)
        await joined("other")
        keeper.on_change(taken.set)
        await ttp.authority.revoke("other")
        async with asyncio.timeout(PATIENCE_S):
            await taken.wait()


async def test_whoever_stays_reads_in_what_a_renewal_needs(
    joined: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = await joined("server")
    read_in, loop = asyncio.Event(), asyncio.get_running_loop()

    def out_of_files() -> None:
        loop.call_soon_threadsafe(read_in.set)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(connection, "certificate_reader", out_of_files)
    async with Keeper(identity, crl_interval=timedelta(seconds=0.05)):
        for _ in range(2):
            async with asyncio.timeout(PATIENCE_S):
                await read_in.wait()
            read_in.clear()
    monkeypatch.undo()
    assert await connection.ready_to_read()


async def test_a_keeper_works_without_its_ttp_and_says_so_once(
    running_ttp: Any, tmp_path: Path, logged: Any
) -> None:
    async with running_ttp(tmp_path / "ttp") as ttp:
        identity = await join(
            tmp_path / "role",
            await ttp.token("server"),
            key_type=KeyType.ECDSA_P256,
            give_up_after=SOON,
        )
    async with Keeper(identity, crl_interval=HOUR) as keeper:
        await keeper.refresh_crl()
        assert len(keeper.crls) == 2
        assert len(logged.named("CRL not fetched")) == 1
        await keeper.server_credentials()
        peer = Peer.of(identity.certificate)
        verdict = admit_again(peer, now=datetime.now(UTC), rules=keeper.rules(Anyone(), alpn=None))
        assert verdict.alert is None
        async with running_ttp(tmp_path / "ttp", port=identity.ttp.port):
            await keeper.refresh_crl()
            assert len(logged.named("CRL fetched again")) == 1
        await keeper.refresh_crl()
        assert len(logged.named("CRL not fetched")) == 2


async def test_a_refused_connection_has_the_crls_fetched_once_for_all_of_them(
    ttp: Any, joined: Any, logged: Any
) -> None:
    identity = await joined("server")
    await joined("client")
    changed = asyncio.Event()
    async with Keeper(identity, crl_interval=HOUR) as keeper:
        keeper.on_change(changed.set)
        await ttp.authority.revoke("client")
        started = asyncio.get_running_loop().time()
        for _ in range(100):
            keeper.refresh_soon()
        assert not changed.is_set()
        async with asyncio.timeout(PATIENCE_S):
            await changed.wait()
        assert asyncio.get_running_loop().time() - started > 1
        assert len(logged.named("CRL taken")) <= 2


@pytest.mark.parametrize("stale_crl", StaleCRL)
async def test_when_a_crl_ends_live_peers_are_judged_again_and_the_log_is_loud(
    running_ttp: Any, tmp_path: Path, logged: Any, stale_crl: StaleCRL
) -> None:
    async with running_ttp(tmp_path / "ttp") as ttp:
        identity = await join(
            tmp_path / "role",
            await ttp.token("server", lifetime=timedelta(days=3)),
            key_type=KeyType.ECDSA_P256,
            give_up_after=SOON,
        )
    lists = from_pem(identity.crl_file.read_text(), certificates_from_pem(identity.trust.encode()))
    ahead = min(each.next_update for each in lists) - datetime.now(UTC) - timedelta(seconds=1.5)
    changed = asyncio.Event()
    peer = Peer.of(identity.certificate)

    def clock() -> datetime:
        return datetime.now(UTC) + ahead

    async with Keeper(identity, crl_interval=HOUR, stale_crl=stale_crl, clock=clock) as keeper:
        keeper.on_change(changed.set)
        rules = keeper.rules(Anyone(), alpn=None)
        assert admit_again(peer, now=clock(), rules=rules).alert is None
        assert not logged.named("CRL ended")
        async with asyncio.timeout(PATIENCE_S):
            await changed.wait()
        verdict = admit_again(peer, now=clock(), rules=rules)
        assert verdict.alert is (Alert.INTERNAL_ERROR if stale_crl is StaleCRL.REFUSE else None)
        said = logged.named("CRL ended")[0]
        assert ("stale_crl" in said["then"]) is (stale_crl is StaleCRL.GO_ON)


async def test_a_crl_on_disk_that_was_tampered_with_is_not_used(
    running_ttp: Any, tmp_path: Path, logged: Any
) -> None:
    async with running_ttp(tmp_path / "ttp") as ttp:
        identity = await join(
            tmp_path / "role",
            await ttp.token("server"),
            key_type=KeyType.ECDSA_P256,
            give_up_after=SOON,
        )
    text = identity.crl_file.read_text()
    middle = text.index("\n", 300) + 5
    changed = "A" if text[middle] != "A" else "B"
    identity.crl_file.write_text(text[:middle] + changed + text[middle + 1 :])
    async with Keeper(identity, crl_interval=HOUR) as keeper:
        assert keeper.crls == ()
    assert len(logged.named("CRL on disk not usable")) == 1


async def test_an_older_crl_is_not_taken(
    ttp: Any, joined: Any, monkeypatch: pytest.MonkeyPatch, logged: Any
) -> None:
    identity = await joined("server")
    async with Keeper(identity, crl_interval=HOUR) as keeper:
        old = ttp.authority.crl
        await joined("client")
        await ttp.authority.revoke("client")
        await keeper.refresh_crl()
        held = numbers(keeper)
        # Not the attribute: the TTP's own upkeep would set it right meanwhile.
        monkeypatch.setattr(type(ttp.authority), "crl_of", lambda _authority, _key_id: old)
        await keeper.refresh_crl()
        assert numbers(keeper) == held
        assert len(logged.named("an older CRL was not taken")) == 1


async def test_a_peer_that_was_admitted_limits_every_context(ttp: Any, joined: Any) -> None:
    now = datetime.now(UTC)
    identity = await joined("server")
    short = Peer.of((await joined("client", lifetime=timedelta(minutes=5))).certificate)
    moment = [now]
    async with Keeper(identity, crl_interval=HOUR, clock=lambda: moment[0]) as keeper:
        server, client = await keeper.server_credentials(), await keeper.client_credentials()
        other = await keeper.client_credentials_for_any_host()
        keeper.note_admitted(short)
        moment[0] = short.not_after - timedelta(seconds=1)
        assert await keeper.server_credentials() is server
        moment[0] = short.not_after
        assert await keeper.server_credentials() is not server
        assert await keeper.client_credentials() is not client
        assert await keeper.client_credentials_for_any_host() is not other


async def reload(keeper: Keeper) -> None:
    async with keeper.reloading(crl_interval=HOUR) as take:
        take()


async def test_a_reload_takes_a_new_identity_or_keeps_the_old(
    ttp: Any, joined: Any, tmp_path: Path
) -> None:
    identity = await joined("server")
    changes: list[str] = []
    async with Keeper(identity, crl_interval=HOUR) as keeper:
        keeper.on_change(lambda: changes.append("changed"))
        context = await keeper.server_credentials()
        renewed = await joined("server")
        await reload(keeper)
        assert keeper.identity == renewed != identity
        assert changes == ["changed"]
        assert await keeper.server_credentials() is not context
        (tmp_path / "server" / "ca.pem").write_text("nonsense")
        with pytest.raises(IdentityError):
            await reload(keeper)
        assert keeper.identity == renewed


async def test_a_reload_with_a_damaged_crl_leaves_all_as_it_was(ttp: Any, joined: Any) -> None:
    first = await joined("server")
    async with Keeper(first, crl_interval=HOUR) as keeper:
        held, credentials = keeper.crls, await keeper.server_credentials()
        second = await joined("server")
        second.crl_file.write_text(second.crl_file.read_text().replace("M", "N", 1))
        with pytest.raises(CertificateError):
            await reload(keeper)
        second.crl_file.unlink()
        with pytest.raises(CertificateError, match=r"crl\.pem cannot be read"):
            await reload(keeper)
        assert (keeper.identity, keeper.crls) == (first, held)
        assert await keeper.server_credentials() is credentials


async def test_a_reload_that_no_client_would_believe_leaves_all_as_it_was(
    ttp: Any, joined: Any
) -> None:
    first = await joined("server")
    async with Keeper(first, crl_interval=HOUR) as keeper:
        credentials = await keeper.server_credentials()
        # All is in order with it, but that it is not for servers.
        await joined("server", profile=Profile.CLIENT)
        with pytest.raises(CertificateError, match="no client would take"):
            await reload(keeper)
        assert keeper.identity == first
        assert await keeper.server_credentials() is credentials


async def test_who_asked_to_be_told_of_changes_can_take_it_back(ttp: Any, joined: Any) -> None:
    identity = await joined("server")
    changes: list[str] = []
    async with Keeper(identity, crl_interval=HOUR) as keeper:
        forget = keeper.on_change(lambda: changes.append("changed"))
        forget()
        await ttp.authority.revoke("server")
        await keeper.refresh_crl()
    assert changes == []


async def test_with_an_expired_identity_a_client_can_still_connect(
    ttp: Any, joined: Any, a_minute_ago: AMinuteAgo
) -> None:
    with a_minute_ago():
        identity: Identity = await joined("client", lifetime=timedelta(seconds=3))
    assert identity.expired(datetime.now(UTC))
    async with Keeper(identity, crl_interval=HOUR) as keeper:
        assert len(keeper.crls) == 2
        await keeper.client_credentials()
        with pytest.raises(CertificateError, match="expired"):
            await keeper.server_credentials()


async def test_a_reload_takes_other_intervals_and_rules_with_the_identity(
    ttp: Any, joined: Any
) -> None:
    async with Keeper(await joined("server"), crl_interval=HOUR) as keeper:
        await joined("client")
        await ttp.authority.revoke("client")
        known = asyncio.Event()
        keeper.on_change(lambda: known.set() if len(keeper.crls[0].serials) else None)
        async with keeper.reloading(
            crl_interval=timedelta(seconds=1), stale_crl=StaleCRL.GO_ON
        ) as take:
            take()
        assert keeper.rules(Anyone(), alpn=None).stale_crl is StaleCRL.GO_ON
        # An hour would be too long to wait.
        async with asyncio.timeout(PATIENCE_S):
            await known.wait()


async def test_a_crl_file_that_was_cut_off_or_overwritten_is_a_fault(joined: Any) -> None:
    identity = await joined("server")
    whole = identity.crl_file.read_text()
    async with Keeper(identity, crl_interval=HOUR) as keeper:
        held = keeper.crls
        for text in (whole[:200], whole[: len(whole) - 30], "not a CRL", whole[30:]):
            identity.crl_file.write_text(text)
            with pytest.raises(CertificateError, match="CRLs are damaged"):
                await reload(keeper)
        assert keeper.crls == held
