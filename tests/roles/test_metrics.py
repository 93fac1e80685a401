"""What the daemons count, read over plain HTTP while they serve."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import asynctls as library
from tests.scraping import promtool, scrape

if TYPE_CHECKING:
    from pathlib import Path

    from tests.roles.processes import Daemons

pytestmark = pytest.mark.one_loop

METRICS = ("--metrics-listen", "127.0.0.1:0")


async def test_a_server_counts_handshakes_and_sessions_and_shows_what_it_holds(
    asynctls: Daemons, issued: Any
) -> None:
    server, address = await asynctls.server(
        await issued("server", lifetime=timedelta(hours=1)), *METRICS
    )
    metrics = str((await server.event("metrics served"))["address"])
    assert len(server.named("listening")) == 1

    client = await issued("client")
    async with library.connect(address, server_name="server", identity=client) as session:
        message = await session.receive()
        during = await scrape(metrics)
        assert during.value("asynctls_sessions") == 1
        # It lives on: a session can do so for months.
        assert during.value("asynctls_messages_total", direction="sent") == 1
        assert during.value("asynctls_application_bytes_total", direction="sent") == len(message)
    refused = await asynctls.client(await issued("stranger"), address)
    assert (await refused.ended()).code == 1
    await server.event("refused")
    await server.event("session ended")

    after = await scrape(metrics)
    assert after.value("asynctls_build_info", role="server") == 1
    assert after.value("asynctls_sessions") == 0
    assert after.value("asynctls_sessions_started_total") == 1
    assert after.values("asynctls_sessions_ended_total") == {("closed",): 1}
    assert after.value("asynctls_receipts_total", direction="received") == 1
    assert after.value("asynctls_tls_bytes_total", direction="sent") > 1000
    assert set(after.values("asynctls_mac_failures_total").values()) == {0}
    assert after.values("asynctls_handshakes_total") == {
        ("", "done"): 1,
        ("access_denied", "refused"): 1,
    }
    left = after.value("asynctls_certificate_expires_in_seconds", certificate="own")
    assert 3500 < left <= 3600
    assert after.value("asynctls_certificate_expires_in_seconds", certificate="root") > left
    assert set(after.values("asynctls_crl_current").values()) == {1.0}
    assert max(after.values("asynctls_crl_age_seconds").values()) < 120
    assert min(after.values("asynctls_crl_next_update_in_seconds").values()) > 0
    # Whom it serves is nobody's to read here.
    assert "client" not in after.text.replace("python", "")
    assert (await server.stop()).code == 0


async def test_a_renewal_is_counted_and_so_is_what_fails(asynctls: Daemons, issued: Any) -> None:
    identity = await issued("server", lifetime=timedelta(seconds=10))
    server, _ = await asynctls.server(identity, *METRICS, "--crl-interval", "1s")
    metrics = str((await server.event("metrics served"))["address"])
    first = await scrape(metrics)
    assert first.values("asynctls_renewals_total") == {("done",): 0, ("failed",): 0}
    assert first.value("asynctls_ttp_in_touch") == 1
    await server.event("certificate renewed")
    after = await scrape(metrics)
    assert after.value("asynctls_renewal_due_in_seconds") > 0
    await server.until(lambda: bool(server.named("certificate renewed")[1:]), "a second renewal")
    last = await scrape(metrics)
    assert last.value("asynctls_renewals_total", result="done") >= 1


async def test_a_ttp_out_of_reach_shows(asynctls: Daemons, tmp_path: Path) -> None:
    authority, _where = await asynctls.ttp(tmp_path / "ttp", *METRICS)
    seen = str((await authority.event("metrics served"))["address"])
    token = await asynctls.run("ttp", "token", "server", "--state", tmp_path / "ttp")
    server = await asynctls.start(
        *("server", "--state", tmp_path / "server", "--listen", "127.0.0.1:0", "--allow", "client"),
        *("--join-file", "-", "--crl-interval", "1s", *METRICS),
        given=token.out.decode(),
    )
    metrics = str((await server.event("metrics served"))["address"])
    counted = await scrape(seen)
    assert counted.value("asynctls_ttp_certificates_issued_total", how="enrolment") == 1
    assert counted.value("asynctls_handshakes_total", result="done") >= 2
    assert (await scrape(metrics)).value("asynctls_ttp_in_touch") == 1
    assert (await authority.stop()).code == 0
    await server.event("CRL not fetched")
    assert (await scrape(metrics)).value("asynctls_ttp_in_touch") == 0


async def test_promtool_finds_nothing_to_say(asynctls: Daemons, issued: Any) -> None:
    server, _ = await asynctls.server(await issued("server"), *METRICS)
    read = await scrape(str((await server.event("metrics served"))["address"]))
    assert await promtool("metrics", given=read.text) == (0, "")


async def test_a_client_that_follows_counts_too(asynctls: Daemons, issued: Any) -> None:
    server, address = await asynctls.server(await issued("server"), "--app", "echo")
    client = await asynctls.client(await issued("client"), address, "--follow", *METRICS)
    metrics = str((await client.event("metrics served"))["address"])
    await client.event("session started")
    during = await scrape(metrics)
    assert during.value("asynctls_build_info", role="client") == 1
    assert during.value("asynctls_sessions") == 1
    assert during.values("asynctls_handshakes_total") == {("", "done"): 1}
    assert during.value("asynctls_certificate_expires_in_seconds", certificate="own") > 0
    assert (await client.stop()).code == 0
    await server.event("session ended")


async def test_a_client_that_does_not_stay_has_nobody_to_read_its_metrics(
    asynctls: Daemons,
) -> None:
    ended = await asynctls.run("client", *METRICS)
    assert ended.code == 2
    assert "set follow as well" in ended.said[0]
