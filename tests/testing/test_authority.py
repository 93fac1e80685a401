"""The CA for tests: what it issues is taken, and refused, as what a TTP issues is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

import asynctls
from asynctls.alerts import Alert
from asynctls.errors import CertificateError, IdentityError, RefusedByPeerError
from asynctls.testing import CA, pair

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ca(tmp_path: Path) -> CA:
    return CA(tmp_path)


async def greet(session: asynctls.Session) -> None:
    await session.send(b"hello " + session.peer.name.encode())


def test_an_identity_is_one_that_is_found_on_disk(ca: CA) -> None:
    made = ca.identity("server", "urn:example:server")
    assert made == asynctls.Identity.load(made.folder)
    assert made.sans == ("server", "urn:example:server")
    assert made.trust == ca.trust
    with pytest.raises(CertificateError):
        ca.identity("no name")


async def test_an_identity_ends_when_it_was_said_to(ca: CA, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    assert not ca.identity("short", ends_in=timedelta(seconds=30)).expired(now)
    late = ca.identity("server", ends_in=timedelta(0))
    assert late.expired(now + timedelta(seconds=1))
    with pytest.raises(IdentityError, match="expired"):
        await asynctls.serve(greet, "127.0.0.1:0", identity=late, allow=["any"])


@pytest.mark.parametrize(
    ("what", "alert"),
    [
        ("revoked", Alert.CERTIFICATE_REVOKED),
        ("expired", Alert.CERTIFICATE_EXPIRED),
    ],
)
async def test_who_is_refused_hears_why(ca: CA, what: str, alert: Alert) -> None:
    if what == "expired":
        identity = ca.identity(what, ends_in=-timedelta(minutes=1))
    else:
        identity = ca.identity(what)
        ca.revoke(identity)
    async with pair(ca, greet) as here:
        assert await here.session.receive() == b"hello client"
        with pytest.raises(RefusedByPeerError) as caught:
            async with asynctls.connect(here.address, server_name="server", identity=identity):
                pass
    assert caught.value.alert is alert


async def test_nobody_asks_a_ttp(ca: CA, logged: object) -> None:
    async with pair(ca, greet) as here:
        assert await here.session.receive() == b"hello client"
    assert not logged.named("CRL not fetched")  # type: ignore[attr-defined]
