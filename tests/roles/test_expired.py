"""A certificate that has expired: its holder is told so by every program, and the log says who."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.enrolment import join
from asynctls.pki.keys import KeyType
from tests.roles.processes import run_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asynctls.enrolment import Identity
    from tests.conftest import AMinuteAgo
    from tests.roles.processes import Daemons, Ended

pytestmark = pytest.mark.one_loop

BRIEF = timedelta(seconds=2)
# On a busy machine too.
LONG_ENOUGH_FOR_TWO_VISITS = timedelta(seconds=8)
LONG_ENOUGH_TO_START = timedelta(seconds=12)
A_DAY = timedelta(days=1)
EXPIRED = 45


async def end_of(identity: Identity) -> str:
    """Waits until the certificate is over (dates are whole seconds); gives the date in words."""
    left_s = (identity.not_after - datetime.now(UTC)).total_seconds()
    await asyncio.sleep(max(0.0, left_s))
    return f"{identity.not_after:%Y-%m-%d %H:%M:%S} UTC"


async def test_the_client_says_when_it_expired_and_what_to_do_and_the_server_goes_on(
    asynctls: Daemons, issued: Any, a_minute_ago: AMinuteAgo
) -> None:
    server, address = await asynctls.server(await issued("server"))
    with a_minute_ago():
        expired = await issued("client", lifetime=BRIEF)
    date = await end_of(expired)
    client = await asynctls.client(expired, address)
    ended = await client.ended()
    assert (ended.code, ended.out) == (1, b"")
    (line,) = ended.said
    assert line == (
        f"asynctls: the server at {address} refused our certificate "
        f"(alert 45, certificate expired) because it expired on {date}: get a new token "
        "('asynctls ttp token client') and join again with it"
    )
    warning = (await client.event("our certificate has expired"))["expired_on"]
    assert warning == expired.not_after.isoformat()
    refused = await server.event("refused")
    assert str(refused["address"]).startswith("127.0.0.1:")
    assert refused["peer"] == f"client (serial {expired.serial})"
    assert refused["alert"] == EXPIRED
    assert refused["reason"] == f"its certificate expired on {date}"

    # Nothing was deleted or enrolled because of an alert, which nobody vouches for.
    assert expired.key_file.exists()
    assert not client.named("joining")

    other = await issued("client", "client-of-today")
    assert (await (await asynctls.client(other, address)).ended()).code == 0
    assert len(server.named("refused")) == 1


async def test_openssl_is_told_so_also_when_it_has_a_session_to_resume(
    asynctls: Daemons, issued: Any, tmp_path: Path, program: Callable[[str], Path]
) -> None:
    openssl = program("openssl")
    server, address = await asynctls.server(await issued("server"))
    kept = tmp_path / "session"

    async def visit(identity: Identity, *options: str | Path) -> Ended:
        return await run_program(
            *(openssl, "s_client", "-connect", address, "-tls1_2", "-alpn", "asynctls/1"),
            *("-CAfile", identity.trust_file, "-verify_return_error", "-servername", "server"),
            *("-cert", identity.certificate_file, "-key", identity.key_file, *options),
        )

    expired = await issued("client", lifetime=LONG_ENOUGH_FOR_TWO_VISITS)
    first = await visit(expired, "-sess_out", kept)
    assert b"New, TLSv1.2" in first.out
    second = await visit(expired, "-sess_in", kept)
    assert b"Reused, TLSv1.2" in second.out, "there was nothing to resume"
    assert not server.named("refused")

    date = await end_of(expired)
    for number, options in enumerate([("-sess_in", kept), ()], start=1):
        ended = await visit(expired, *options)
        assert b"Reused" not in ended.out
        assert any("alert certificate expired" in line for line in ended.said), ended.said
        assert any("SSL alert number 45" in line for line in ended.said)
        refused = await server.event("refused", count=number)
        assert str(refused["address"]).startswith("127.0.0.1:")
        assert refused["peer"] == f"client (serial {expired.serial})"
        assert refused["alert"] == EXPIRED
        assert refused["reason"] == f"its certificate expired on {date}"
    assert (await server.stop()).code == 0


async def test_a_server_whose_certificate_ends_while_it_serves_is_refused_and_hears_so(
    asynctls: Daemons, running_ttp: Any, tmp_path: Path
) -> None:
    # The TTP goes away, or the certificate would be renewed.
    async with running_ttp(tmp_path / "ttp") as ttp:
        expired, identity = [
            await join(
                tmp_path / name,
                await ttp.token(name, lifetime=lifetime),
                key_type=KeyType.ECDSA_P256,
                give_up_after=LONG_ENOUGH_TO_START,
            )
            for name, lifetime in (("server", LONG_ENOUGH_TO_START), ("client", A_DAY))
        ]
    server, address = await asynctls.server(expired)
    date = await end_of(expired)
    ended = await (await asynctls.client(identity, address)).ended()
    assert (ended.code, ended.out) == (1, b"")
    (line,) = ended.said
    assert line.startswith(
        f"asynctls: we refused the server at {address}, expected to be server: "
        f"its certificate expired on {date}"
    )
    refused = await server.event("refused by peer")
    assert refused["alert"] == EXPIRED
    assert str(refused["address"]).startswith("127.0.0.1:")
    assert (await server.stop()).code == 0
