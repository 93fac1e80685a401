"""Issue 4, point 9, by processes: what was issued, is the TTP well, and what was decided."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.ttp.chain import Head
from tests.roles.processes import run_program
from tests.scraping import scrape

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.roles.processes import Daemons, Ended

pytestmark = pytest.mark.one_loop


def objects(ended: Ended) -> list[dict[str, Any]]:
    assert ended.code == 0, ended.said
    return [json.loads(line) for line in ended.out.splitlines()]


@pytest.mark.timeout(180)
async def test_the_ttp_is_looked_at_from_issuance_to_revocation(
    asynctls: Daemons, tmp_path: Path, program: Callable[[str], Path]
) -> None:
    curl = program("curl")
    state = ("--state", tmp_path / "ttp")
    audit: list[dict[str, Any]] = []

    async def verb(*words: str | Path, given: str = "") -> Ended:
        started = await asynctls.start("ttp", *words, *state, given=given)
        ended = await started.ended()
        audit.extend(started.named("audit"))
        return ended

    ttp, address = await asynctls.ttp(tmp_path / "ttp", "--metrics-listen", "127.0.0.1:0")
    metrics = str((await ttp.event("metrics served"))["address"])
    token, other = await asyncio.gather(
        verb("token", "client", "--lifetime", "1h"), verb("token", "other", "--role", "peer")
    )
    joined = await asynctls.run(
        *("identity", "join", "--state", tmp_path / "client", "--key-type", "ecdsa-p256"),
        *("--join-file", "-"),
        given=token.out.decode(),
    )
    assert joined.code == 0, joined.said
    stolen = await asynctls.run(
        *("identity", "join", "--state", tmp_path / "thief", "--key-type", "ecdsa-p256"),
        *("--join-file", "-"),
        given=token.out.decode(),
    )
    assert stolen.code == 1

    (listed,), (shown,) = map(
        objects,
        await asyncio.gather(verb("list", "--json"), verb("show", "client", "--json")),
    )
    assert shown["serial"] == listed["serial"]
    assert (shown["status"], shown["key_type"]) == ("valid", "ecdsa-p256")
    (revoked,) = objects(await verb("revoke", "client", "--reason", "superseded", "--json"))
    assert (revoked["serial"], revoked["reason"]) == (listed["serial"], "superseded")
    valid, pending, found, root = await asyncio.gather(
        verb("list", "--json", "--status", "valid"),
        verb("pending", "--json"),
        verb("verify", "--json"),
        verb("root"),
    )
    assert (objects(valid), objects(pending)) == ([], [])
    (verified,) = objects(found)

    (tmp_path / "root.pem").write_bytes(root.out)
    health = await run_program(
        curl, "-sS", "--cacert", tmp_path / "root.pem", f"https://{address}/healthz"
    )
    assert health.out == b"ok\n"

    got = await scrape(metrics)
    assert got.value("asynctls_ttp_certificates_issued_total", profile="client") == 1
    assert got.value("asynctls_ttp_refused_total", rule="token-used") == 1
    rows = "asynctls_ttp_ledger_rows_total"
    assert got.value(rows, kind="token_created") == 2
    assert got.value(rows, kind="certificate_revoked") == 1
    assert got.value("asynctls_ttp_ledger_append_seconds_count") > 0
    assert set(got.values("asynctls_crl_current").values()) == {1.0}

    assert (await ttp.stop()).code == 0
    # Daemon and verbs together have told each row, once, and in one chain.
    audit = sorted([*audit, *ttp.named("audit")], key=lambda event: int(event["sequence"]))
    assert [event["sequence"] for event in audit] == list(range(1, verified["sequence"] + 1))
    assert audit[-1]["head"] == verified["head"]
    held = await verb("verify", "--head", str(Head.parse(audit[-2]["head"])))
    assert held.code == 0
    issued = [event for event in audit if event["decision"] == "certificate issued"]
    assert [event["serial"] for event in issued] == [listed["serial"]]
    refused = [event for event in audit if event["decision"] == "enrolment refused"]
    assert [event["rule"] for event in refused] == ["token-used"]
    secrets = [text.out.decode().partition("@")[0].rpartition(":")[2] for text in (token, other)]
    said = await asyncio.to_thread(json.dumps, [*audit, *ttp.events])
    assert not [secret for secret in secrets if secret in said]
