"""The TTP dies between the token's use and its reply: one certificate, recorded once."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from asynctls.config import Address
from asynctls.enrolment import Identity, JoinString
from tests.listening import passing_on

if TYPE_CHECKING:
    from pathlib import Path

    from tests.roles.processes import Daemons

pytestmark = pytest.mark.one_loop


async def test_kill_9_of_the_ttp_before_its_reply_ends_with_one_certificate(
    asynctls: Daemons, tmp_path: Path
) -> None:
    folder = tmp_path / "ttp"
    ttp, at = await asynctls.ttp(folder)
    token = await asynctls.run("ttp", "token", "server", "--state", folder)
    killed = asyncio.Event()

    def is_lost() -> bool:
        if killed.is_set():
            return False
        # The ledger is asked because it is written before the reply is sent, and no sooner.
        with closing(sqlite3.connect(f"file:{folder}/ledger.db?mode=ro", uri=True)) as ledger:
            (used,) = ledger.execute(
                "SELECT count(*) FROM entries WHERE kind = 'certificate issued'"
            ).fetchone()
        if used:
            ttp.process.kill()
            killed.set()
        return bool(used)

    async with passing_on(Address.parse(at), is_lost) as address:
        join_string = replace(JoinString.parse(token.out.decode()), address=address)
        joining = await asynctls.start(
            *("identity", "join", "--state", tmp_path / "server"),
            *("--key-type", "ecdsa-p256", "--join-file", "-"),
            given=join_string.format(),
        )
        await joining.event("ttp unreachable")
        assert killed.is_set()
        assert (await ttp.ended()).code == -9
        await asynctls.ttp(folder, "--listen", at)
        ended = await joining.ended()
    assert ended.code == 0, ended.said
    assert len(joining.named("key pair made")) == 1
    identity = Identity.load(tmp_path / "server")
    listed = await asynctls.run("ttp", "list", "--json", "--state", folder)
    (certificate,) = listed.out.splitlines()
    assert json.loads(certificate)["serial"] == identity.serial
    assert (await asynctls.run("ttp", "verify", "--state", folder)).code == 0
