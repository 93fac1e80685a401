"""An identity that is in memory alone: given as PEM or joined, in use, renewed."""

from __future__ import annotations

import asyncio
import shutil
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import asynctls
from asynctls.enrolment.identity import store_trust
from asynctls.enrolment.keeper import Keeper
from asynctls.enrolment.memory import Memory
from asynctls.errors import (
    CertificateError,
    IdentityError,
    JoinStringError,
    RefusedByPeerError,
    StateLockedError,
    TTPUnreachableError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.enrolment.texts import Joined
    from asynctls.testing import CA

HOUR = timedelta(hours=1)
AT_ONCE = timedelta(0)


async def greet(session: asynctls.Session) -> None:
    await session.send(b"hello " + session.peer.name.encode(), receipt=True)


def texts(identity: asynctls.Identity) -> dict[str, Any]:
    return {
        "key": identity.key_file.read_bytes(),
        "certificate": identity.certificate_file.read_bytes(),
        "trust": identity.trust_file.read_bytes(),
        "crl": identity.crl_file.read_bytes(),
    }


def moved_to_memory(identity: asynctls.Identity) -> asynctls.Identity:
    given = texts(identity)
    shutil.rmtree(identity.folder)
    return asynctls.Identity.from_pem(**given)


async def test_two_in_memory_talk_though_no_file_is_left(asynctls_ca: CA) -> None:
    server = moved_to_memory(asynctls_ca.identity("server"))
    client = moved_to_memory(asynctls_ca.identity("client"))
    async with (
        asynctls.serving(greet, "127.0.0.1:0", identity=server, allow=["client"]) as address,
        asynctls.connect(str(address), server_name="server", identity=client) as session,
    ):
        assert await session.receive() == b"hello client"
        assert session.peer.serial == server.serial


async def test_without_a_crl_nobody_is_let_in(asynctls_ca: CA) -> None:
    given = texts(asynctls_ca.identity("server")) | {"crl": b""}
    server = asynctls.Identity.from_pem(**given)
    client = asynctls_ca.identity("client")
    async with asynctls.serving(greet, "127.0.0.1:0", identity=server, allow=["any"]) as address:
        with pytest.raises(RefusedByPeerError, match="no current CRL"):
            async with asynctls.connect(str(address), server_name="server", identity=client):
                pytest.fail("a client was let in")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"key": b"no key"}, "what was given as key.pem: "),
        ({"certificate": b""}, "what was given as cert.pem: "),
        ({"trust": "no certificate"}, "what was given as ca.pem: "),
        ({"certificate": "other"}, "is not the key of the certificate in what was given as cert"),
        ({"trust": "other CA"}, "the certificates in memory do not lead to the root"),
    ],
)
def test_what_does_not_belong_together_is_told_in_words(
    asynctls_ca: CA, tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    given = texts(asynctls_ca.identity("role")) | changed
    if given["certificate"] == "other":
        given["certificate"] = asynctls_ca.identity("other").certificate_file.read_text()
    if given["trust"] == "other CA":
        given["trust"] = type(asynctls_ca)(tmp_path).trust
    with pytest.raises(IdentityError) as caught:
        asynctls.Identity.from_pem(**given)
    assert words in str(caught.value)


def test_it_has_no_folder_and_shows_no_key(asynctls_ca: CA) -> None:
    identity = moved_to_memory(asynctls_ca.identity("role"))
    with pytest.raises(IdentityError, match="role is in memory alone"):
        _ = identity.folder
    assert isinstance(identity.store, Memory)
    for shown in (repr(identity), str(identity), repr(identity.store), repr(identity.store.find())):
        assert "PRIVATE KEY" not in shown
    assert identity.as_kept() == identity


def test_what_no_pipe_holds_is_an_error_and_no_wait(asynctls_ca: CA) -> None:
    given = texts(asynctls_ca.identity("role"))
    chain = given["certificate"] + b"# a remark\n" * 100_000
    identity = asynctls.Identity.from_pem(**given | {"certificate": chain})
    with pytest.raises(CertificateError, match="too large"), identity.store.loadable():
        pytest.fail("a pipe held it")


async def test_it_can_be_joined_and_is_renewed_in_memory_for_whoever_has_it(
    ttp: Any, joined: Any
) -> None:
    token = await ttp.token("server")
    identity = await asynctls.join(token.format(), key_type="ecdsa-p256")
    assert identity.name == "server"
    client = await joined("client")
    async with (
        Keeper(identity, crl_interval=HOUR) as keeper,
        Keeper(identity, crl_interval=HOUR) as other,
    ):
        before = await other.server_credentials()
        assert before.certificate == identity.certificate
        await keeper._renew_once()
        renewed = keeper.identity
        assert renewed.certificate != identity.certificate
        assert renewed.name == "server"
        assert (await keeper.server_credentials()).certificate == renewed.certificate
        other.retire_contexts()
        await other._renew_once()
        assert other.identity == renewed
        assert (await other.server_credentials()).certificate == renewed.certificate
    # Whoever begins with what it was finds what it is.
    async with (
        asynctls.serving(greet, "127.0.0.1:0", identity=identity, allow=["client"]) as address,
        asynctls.connect(str(address), server_name="server", identity=client) as session,
    ):
        assert session.peer.serial == renewed.serial


async def test_two_keepers_of_one_do_not_write_at_once(
    ttp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New CAs are written by one, with the certificate that it has: the other must not renew it."""
    identity = await asynctls.join((await ttp.token("server")).format(), key_type="ecdsa-p256")
    writing, go_on, store = asyncio.Event(), threading.Event(), Memory.store
    loop = asyncio.get_running_loop()

    def slow(self: Memory, joined: Joined, key: Any = None, *, word: str = "") -> None:
        if key is None:
            loop.call_soon_threadsafe(writing.set)
            assert go_on.wait(10)
        store(self, joined, key, word=word)

    async with (
        asyncio.timeout(20),
        Keeper(identity, crl_interval=HOUR) as keeper,
        Keeper(identity, crl_interval=HOUR) as other,
    ):
        other._files.found("other CAs", ())
        monkeypatch.setattr(Memory, "store", slow)
        refreshed = asyncio.create_task(other.refresh_crl())
        await writing.wait()
        try:
            with pytest.raises(StateLockedError, match="being written"):
                await keeper._renew_once()
        finally:
            go_on.set()
            await refreshed
        await keeper._renew_once()
        assert identity.as_kept().certificate == keeper.identity.certificate
        assert keeper.identity.certificate != identity.certificate


async def test_one_that_has_expired_since_it_was_loaded_is_served_as_it_is_by_now(
    asynctls_ca: CA,
) -> None:
    loaded = asynctls_ca.identity("server", ends_in=AT_ONCE)
    renewed = asynctls_ca.identity("server")
    for file in renewed.files:
        shutil.copy(file, loaded.folder)
    client = asynctls_ca.identity("client")
    async with (
        asynctls.serving(greet, "127.0.0.1:0", identity=loaded, allow=["client"]) as address,
        asynctls.connect(str(address), server_name="server", identity=client) as session,
    ):
        assert session.peer.serial == renewed.serial


async def test_joined_into_a_folder_it_is_found_again(ttp: Any, tmp_path: Path) -> None:
    token = (await ttp.token("client")).format()
    folder = tmp_path / "state"
    made = await asynctls.join(token, folder, key_type="ecdsa-p256")
    # The token is used up, and is not looked at.
    assert await asynctls.join(token, str(folder)) == made == asynctls.Identity.load(folder)


async def test_what_is_no_join_string_is_an_error_that_does_not_quote_it(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "state"):
        with pytest.raises(JoinStringError) as caught:
            await asynctls.join("est://a-secret", folder)
        assert "a-secret" not in str(caught.value)


async def test_of_no_ttp_it_is_not_renewed_and_says_why(asynctls_ca: CA) -> None:
    identity = moved_to_memory(asynctls_ca.identity("role"))
    async with Keeper(identity, crl_interval=HOUR) as keeper:
        with pytest.raises(TTPUnreachableError, match="there is no TTP"):
            await keeper._renew_once()


async def test_what_the_ttp_has_that_is_new_is_kept_with_it(ttp: Any) -> None:
    identity = await asynctls.join((await ttp.token("server")).format(), key_type="ecdsa-p256")
    revoked = await asynctls.join((await ttp.token("client")).format(), key_type="ecdsa-p256")
    async with Keeper(identity, crl_interval=HOUR) as keeper:
        before = identity.store.crl()
        await ttp.authority.revoke("client")
        await keeper.refresh_crl()
        assert identity.store.crl() != before
    async with Keeper(identity, crl_interval=HOUR) as another:
        assert any(revoked.serial_number in each.serials for each in another.crls)


def test_another_trust_leaves_its_key_as_it_is(asynctls_ca: CA) -> None:
    identity = moved_to_memory(asynctls_ca.identity("role"))
    more = identity.trusting([])
    store_trust(more, crl="")
    kept = identity.as_kept()
    assert kept.trust == more.trust != identity.trust
    assert kept.certificate == identity.certificate
    assert identity.store.crl() == ""
    with kept.store.loadable() as (chain, key):
        assert b"PRIVATE KEY" in key.read_bytes()
        assert b"CERTIFICATE" in chain.read_bytes()
