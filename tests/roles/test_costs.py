"""`asynctls costs --connect`: an account of a connection to a server that runs elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.testing import CA
    from tests.roles.processes import Daemons

pytestmark = pytest.mark.one_loop


async def test_a_connection_is_accounted_for_full_and_resumed(
    asynctls: Daemons, ca: CA, tmp_path: Path
) -> None:
    _, address = await asynctls.server(ca.identity("server"))
    connect = ("--connect", address, "--state", ca.identity("client").folder)
    page = tmp_path / "costs.html"

    ended = await asynctls.run("costs", *connect, "--json", "--html", page)

    assert (ended.code, ended.said) == (0, [])
    account = json.loads(ended.out)
    full, resumed = account["conversations"]
    assert (full["handshake"], resumed["handshake"]) == ("full", "resumed")
    assert (full["sent_messages"], resumed["sent_messages"]) == (1, 1)
    assert account["messages"]["octets"] == full["groups"]["messages"]["octets"] > 0
    assert "csr" not in account
    assert account["ecdsa_sign"]["counts"] == {"ecdsa-p256": {"client": 1, "server": 1}}
    assert any("names it server" in note for note in account["notes"])
    assert f"{full['octets']:,}" in page.read_text()
