"""A daemon's metrics over plain HTTP: read by prometheus-client's parser and by promtool."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from asynctls import __version__
from asynctls.alerts import Alert
from asynctls.config import Address, Endpoint
from asynctls.errors import (
    ConfigError,
    HandshakeError,
    HandshakeTimeoutError,
    PeerRefusedError,
    RefusedByPeerError,
)
from asynctls.runtime.metrics import HandshakeMetrics, new_registry, serve_metrics
from asynctls.runtime.places import Limit
from tests.scraping import ask, promtool, scrape

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

Events = list[MutableMapping[str, Any]]

HERE = Endpoint(Address("127.0.0.1", 0))


def serving(*troubles: str, **settings: Any) -> AbstractAsyncContextManager[Any]:
    return serve_metrics(
        HERE, new_registry("server"), role="server", troubles=lambda: troubles, **settings
    )


async def test_the_metrics_are_read_as_prometheus_reads_them(events: Events) -> None:
    async with asyncio.timeout(20), serving() as listener:
        head, body = await ask(listener.address)
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    samples = [each for family in text_string_to_metric_families(body) for each in family.samples]
    (build,) = [each for each in samples if each.name == "asynctls_build_info"]
    assert (build.labels, build.value) == ({"role": "server", "version": __version__}, 1.0)
    assert events[0]["event"] == "metrics served"
    assert events[0]["address"] == str(listener.address)


async def test_two_daemons_in_a_process_share_no_numbers() -> None:
    first, second = new_registry("ttp"), new_registry("server")
    for registry in (first, second):
        Counter("asynctls_told", "What was told.", registry=registry).inc()
    assert first.get_sample_value("asynctls_told_total") == 1
    assert second.get_sample_value("asynctls_told_total") == 1
    assert REGISTRY.get_sample_value("asynctls_told_total") is None


async def test_only_get_and_only_the_metrics(events: Events) -> None:
    async with asyncio.timeout(20), serving() as listener:
        assert (await ask(listener.address, "/"))[0].startswith("HTTP/1.1 404 ")
        assert (await ask(listener.address, method="POST"))[0].startswith("HTTP/1.1 405 ")
        head, body = await ask(listener.address, method="HEAD")
    assert head.startswith("HTTP/1.1 200 ")
    assert body == ""


async def test_it_says_whether_all_is_well() -> None:
    async with asyncio.timeout(20), serving() as listener:
        head, body = await ask(listener.address, "/healthz")
        assert (head.startswith("HTTP/1.1 200 "), body) == (True, "ok\n")
    async with asyncio.timeout(20), serving("no CRL", "no workers") as listener:
        head, body = await ask(listener.address, "/healthz")
        assert (head.startswith("HTTP/1.1 503 "), body) == (True, "no CRL; no workers\n")


async def test_it_is_served_on_a_unix_socket_too(tmp_path: Path) -> None:
    where = tmp_path / "metrics"
    registry = new_registry("server")
    serving_there = serve_metrics(Endpoint(where), registry, role="server", troubles=tuple)
    async with asyncio.timeout(20), serving_there:
        assert stat.S_IMODE(where.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(where)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        assert b"asynctls_build_info" in await reader.read()
        writer.close()
        await writer.wait_closed()
    assert not where.exists()


async def test_what_must_be_looked_up_is_looked_up_for_each_answer() -> None:
    looked = []

    async def look() -> None:
        looked.append(True)

    async with asyncio.timeout(20), serving(prepare=look) as listener:
        await ask(listener.address)
        await ask(listener.address)
        await ask(listener.address, "/")
    assert looked == [True, True]


async def test_leaving_does_not_wait_for_a_scraper_that_stays_connected() -> None:
    async with asyncio.timeout(20):
        async with serving() as listener:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.address.port)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        writer.close()


async def test_an_address_in_use_is_named_with_its_key() -> None:
    async with asyncio.timeout(20), serving() as listener:
        where = Endpoint(listener.address)
        with pytest.raises(ConfigError) as caught:
            async with serve_metrics(where, new_registry("ttp"), role="ttp", troubles=tuple):
                pass
    assert str(caught.value.faults[0]).startswith("ttp.metrics_listen")


@pytest.mark.parametrize(
    ("error", "result", "reason"),
    [
        (PeerRefusedError(Alert.ACCESS_DENIED, "not on the list"), "refused", "access_denied"),
        (RefusedByPeerError("no", alert=Alert.UNKNOWN_CA), "refused_by_peer", "unknown_ca"),
        (RefusedByPeerError("no", alert=None), "refused_by_peer", "other"),
        (HandshakeTimeoutError("10 s"), "failed", "time_out"),
        (HandshakeError("gone"), "failed", "other"),
    ],
)
def test_a_handshake_is_counted_by_how_it_failed(
    error: HandshakeError, result: str, reason: str
) -> None:
    registry = CollectorRegistry()
    HandshakeMetrics(registry).handshake_failed(error)
    labels = {"result": result, "reason": reason}
    assert registry.get_sample_value("asynctls_handshakes_total", labels) == 1


def test_a_connection_that_was_not_taken_is_counted_by_the_limit() -> None:
    registry = CollectorRegistry()
    metrics = HandshakeMetrics(registry)
    metrics.connection_not_taken(Limit.PER_ADDRESS)
    counted = {
        limit: registry.get_sample_value("asynctls_connections_not_taken_total", {"limit": limit})
        for limit in ("in_all", "per_address", "open_files")
    }
    assert counted == {"in_all": 0, "per_address": 1, "open_files": 0}


async def test_promtool_finds_nothing_to_say() -> None:
    async with asyncio.timeout(20), serving() as listener:
        _, body = await ask(listener.address)
    assert await promtool("metrics", given=body) == (0, "")


async def test_a_daemon_counts_its_tasks() -> None:
    async with asyncio.timeout(20), serving() as listener:
        before = (await scrape(listener.address)).value("asynctls_tasks")
        waiting = [asyncio.create_task(asyncio.Event().wait()) for _ in range(5)]
        assert (await scrape(listener.address)).value("asynctls_tasks") == before + 5
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert (await scrape(listener.address)).value("asynctls_tasks") == before
