"""What the TTP counts, by a daemon of its own and by admin verbs beside it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from asynctls.config import Address, Endpoint, TTPConfig
from asynctls.errors import EnrolmentRefusedError
from asynctls.pki.certificates import to_der
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.profiles import Profile
from asynctls.pki.requests import build_request
from asynctls.ttp.authority import Authority
from asynctls.ttp.est import EST, Asker
from asynctls.ttp.metrics import TTPMetrics
from asynctls.ttp.policy import Rule
from tests.scraping import Scrape, promtool, scrape
from tests.ttp.test_est import enrolment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HERE = Asker("192.0.2.7:5555", None)
HOUR = timedelta(hours=1)


def config_in(folder: Path) -> TTPConfig:
    return TTPConfig(
        state=folder,
        listen=Address("127.0.0.1", 0),
        root_key_type="ecdsa-p256",
        issuing_key_type="ecdsa-p256",
        metrics_listen=Endpoint(Address("127.0.0.1", 0)),
    )


@pytest.fixture
async def authority(tmp_path: Path) -> AsyncIterator[Authority]:
    async with await Authority.open(config_in(tmp_path / "ttp")) as opened:
        yield opened


async def read(metrics: TTPMetrics, logged: Any) -> Scrape:
    async with metrics.serving(Endpoint(Address("127.0.0.1", 0))):
        return await scrape(str((await logged.until("metrics served"))["address"]))


def request() -> bytes:
    return build_request(generate_now(KeyType.ECDSA_P256))


async def test_what_is_issued_renewed_and_refused_is_counted(
    authority: Authority, logged: Any
) -> None:
    metrics = TTPMetrics(authority)
    authority.observe(metrics)
    token_id, secret = await authority.create_token(
        "server", profile=Profile.SERVER, ttl=HOUR, lifetime=HOUR
    )
    first = await authority.enrol(
        token_id, secret.reveal().decode(), request(), address=HERE.address
    )
    for _ in range(2):
        await authority.reenrol(to_der(first), request(), address=HERE.address)
    est = EST(authority)
    await est.answer(enrolment(token_id, secret, b"***"), HERE)
    await est.answer(enrolment("nobody", secret, b""), HERE)
    await est.answer(enrolment(token_id, secret, b"", content_type="text/plain"), HERE)
    got = await read(metrics, logged)
    issued = "asynctls_ttp_certificates_issued_total"
    assert got.value(issued, profile="server", how="enrolment") == 1
    assert got.value(issued, profile="server", how="renewal") == 2
    refused = got.values("asynctls_ttp_refused_total")
    assert refused[("wrong-type",)] == 1
    assert refused[("malformed-request",)] >= 1
    assert got.value("asynctls_ttp_ledger_append_seconds_count") >= 4
    assert got.value("asynctls_ttp_ledger_append_seconds_sum") > 0


async def test_what_is_answered_by_ocsp_is_counted(authority: Authority, logged: Any) -> None:
    metrics = TTPMetrics(authority)
    authority.observe(metrics)
    token_id, secret = await authority.create_token(
        "server", profile=Profile.SERVER, ttl=HOUR, lifetime=HOUR
    )
    mine = await authority.enrol(
        token_id, secret.reveal().decode(), request(), address=HERE.address
    )
    issuer = authority.ca_certificates[0]
    asked = ocsp.OCSPRequestBuilder().add_certificate(mine, issuer, hashes.SHA256()).build()
    question = asked.public_bytes(Encoding.DER)
    for _ in range(2):
        await authority.ocsp.answer(question)
    await authority.revoke("server")
    await authority.ocsp.answer(question)
    await authority.ocsp.answer(b"no question")
    got = await read(metrics, logged)
    assert got.values("asynctls_ttp_ocsp_answers_total") == {
        ("good",): 2,
        ("revoked",): 1,
        ("malformed_request",): 1,
    }


async def test_the_ledgers_rows_are_counted_whoever_wrote_them(
    authority: Authority, logged: Any
) -> None:
    metrics = TTPMetrics(authority)
    rows = "asynctls_ttp_ledger_rows_total"
    async with metrics.serving(Endpoint(Address("127.0.0.1", 0))):
        address = str((await logged.until("metrics served"))["address"])
        before = await scrape(address)
        # Root, issuing CA, the TTP's TLS, the OCSP responder.
        assert before.value(rows, kind="own_certificate_issued") == 4
        assert before.value(rows, kind="token_created") == 0
        async with await Authority.beside(config_in(authority.folder)) as beside:
            for _ in range(3):
                await beside.create_token("x", profile=Profile.PEER, ttl=HOUR, lifetime=HOUR)
            await beside.revoke("x")
        after = await scrape(address)
        assert after.value(rows, kind="token_created") == 3
        assert after.value(rows, kind="token_revoked") == 3
        assert after.value(rows, kind="own_certificate_issued") == 4
    head = await authority.verify()
    assert sum(after.values(rows).values()) == head.sequence


async def test_how_long_each_certificate_and_crl_lasts(authority: Authority, logged: Any) -> None:
    got = await read(TTPMetrics(authority), logged)
    left = {
        what: got.value("asynctls_certificate_expires_in_seconds", certificate=what)
        for what in ("root", "issuing", "ttp", "ocsp")
    }
    day = 86400
    assert left["root"] == pytest.approx(3652 * day, abs=day)
    assert left["issuing"] == pytest.approx(730 * day, abs=day)
    assert 0 < left["ttp"] < left["issuing"]
    assert 0 < left["ocsp"] < left["issuing"]
    # The issuing CA's and the root's.
    assert sorted(got.values("asynctls_crl_next_update_in_seconds").values()) == [
        pytest.approx(day, abs=300),
        pytest.approx(180 * day, abs=300),
    ]
    assert set(got.values("asynctls_crl_current").values()) == {1.0}
    assert got.value("asynctls_ttp_healthy") == 1
    assert got.value("asynctls_ttp_ledger_readable") == 1
    assert got.value("asynctls_ttp_pending") == 0


async def test_a_ledger_that_cannot_be_read_shows_and_costs_no_answer(
    authority: Authority, logged: Any
) -> None:
    ledger = authority.folder / "ledger.db"
    metrics = TTPMetrics(authority)
    async with metrics.serving(Endpoint(Address("127.0.0.1", 0))):
        address = str((await logged.until("metrics served"))["address"])
        assert (await scrape(address)).value("asynctls_ttp_ledger_readable") == 1
        ledger.rename(ledger.with_suffix(".away"))
        ledger.mkdir()
        assert (await scrape(address)).value("asynctls_ttp_ledger_readable") == 0
        ledger.rmdir()
        ledger.with_suffix(".away").rename(ledger)
        assert (await scrape(address)).value("asynctls_ttp_ledger_readable") == 1


async def test_scrapers_that_come_together_count_each_row_once(
    authority: Authority, logged: Any
) -> None:
    metrics = TTPMetrics(authority)
    async with metrics.serving(Endpoint(Address("127.0.0.1", 0))):
        address = str((await logged.until("metrics served"))["address"])
        read = await asyncio.gather(*(scrape(address) for _ in range(8)))
    rows = "asynctls_ttp_ledger_rows_total"
    assert {each.value(rows, kind="own_certificate_issued") for each in read} == {4.0}


async def test_guessing_makes_no_new_label(authority: Authority, logged: Any) -> None:
    metrics = TTPMetrics(authority)
    authority.observe(metrics)
    est = EST(authority)
    _, secret = await authority.create_token("x", profile=Profile.PEER, ttl=HOUR, lifetime=HOUR)
    for guess in range(12):
        await est.answer(enrolment(f"guess{guess}", secret, b"AAAA"), HERE)
    with pytest.raises(EnrolmentRefusedError):
        await authority.enrol("guess", "wrong", request(), address=HERE.address)
    got = await read(metrics, logged)
    refused = got.values("asynctls_ttp_refused_total")
    assert set(refused) == {(rule.text,) for rule in Rule}
    assert refused[("rate-limited",)] > 0
    assert refused[("token-used",)] == 0
    assert "guess" not in got.text


async def test_promtool_finds_nothing_to_say(authority: Authority, logged: Any) -> None:
    got = await read(TTPMetrics(authority), logged)
    assert await promtool("metrics", given=got.text) == (0, "")
