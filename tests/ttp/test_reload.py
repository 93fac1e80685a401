"""A TTP takes another config while it serves: its policy and its intervals, or none of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.config import TTPConfig
from asynctls.enrolment import Identity, join
from asynctls.errors import CertificateError, ConfigError, EnrolmentRefusedError
from asynctls.pki.certificates import to_der
from asynctls.pki.keys import KeyType
from asynctls.ttp import clock, own_tls

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asynctls.ttp.service import Service

KEYS: dict[str, Any] = {"root_key_type": "ecdsa-p256", "issuing_key_type": "ecdsa-p256"}


async def become(service: Service, folder: Path, **settings: Any) -> None:
    async with service.changing(TTPConfig(state=folder / "ttp", **KEYS, **settings)) as take:
        take()


async def test_another_policy_counts_for_tokens_from_before(ttp: Any, tmp_path: Path) -> None:
    tokens = {name: await ttp.token(name) for name in ("client", "server")}

    async def joined(name: str) -> Identity:
        return await join(
            tmp_path / name,
            tokens[name],
            key_type=KeyType.ECDSA_P256,
            give_up_after=timedelta(seconds=10),
        )

    await become(ttp.service, tmp_path, allow_names=("server",), max_lifetime=timedelta(hours=1))
    with pytest.raises(EnrolmentRefusedError) as refused:
        await joined("client")
    assert refused.value.rule == "name-not-allowed"
    assert (await joined("server")).lifetime == timedelta(hours=1)


async def test_the_next_crl_is_signed_as_the_new_config_says(ttp: Any, tmp_path: Path) -> None:
    before = ttp.authority.crl
    settings = {"crl_lifetime": timedelta(minutes=2), "crl_interval": timedelta(minutes=1)}
    await become(ttp.service, tmp_path, **settings)
    await ttp.authority.look_after()
    after = ttp.authority.crl
    assert after.number > before.number
    assert after.next_update - after.this_update == timedelta(minutes=2)


async def test_what_cannot_be_used_changes_nothing(ttp: Any, joined: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="allow_names"):
        await become(ttp.service, tmp_path, allow_names=("a b",), crl_interval=timedelta(seconds=1))
    chain = tmp_path / "ttp" / "ttp.pem"
    whole = chain.read_text()
    chain.write_text("no certificate")
    with pytest.raises(CertificateError):
        await become(ttp.service, tmp_path, allow_names=("other",))
    chain.write_text(whole)
    assert (await joined("server")).name == "server"


async def test_a_certificate_that_was_renewed_while_it_reloaded_is_shown_all_the_same(
    ttp: Any, joined: Any, tmp_path: Path
) -> None:
    config = TTPConfig(state=tmp_path / "ttp", **KEYS)
    async with ttp.service.changing(config) as take:
        care = ttp.authority._care
        names = ("127.0.0.1", "another.example")
        care.tls_certificate = await care._ledger.write(
            lambda tx: own_tls.make(tx, care.cas, care._keys, names=names, now=clock.now())
        )
        # Somebody connects, and is shown the new one.
        await joined("client")
        take()
    await joined("server")
    shown = await ttp.service._credentials.get()
    assert shown.certificate == to_der(ttp.authority.tls_certificate)


async def test_it_takes_as_many_connections_as_its_config_says_by_now(
    running_ttp: Any, new_ttp: Callable[[Path], None], logged: Any, tmp_path: Path
) -> None:
    new_ttp(tmp_path / "ttp")
    async with running_ttp(tmp_path / "ttp", max_connections=1) as ttp:
        where = (ttp.address.host, ttp.address.port)
        _, silent = await asyncio.open_connection(*where)
        reader, refused = await asyncio.open_connection(*where)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        assert (await logged.until("connection not taken"))["most"] == 1
        await become(ttp.service, tmp_path, max_connections=8)
        identity = await join(
            tmp_path / "client",
            await ttp.token("client"),
            key_type=KeyType.ECDSA_P256,
            give_up_after=timedelta(seconds=10),
        )
        assert identity.name == "client"
        for each in (silent, refused):
            each.transport.abort()
