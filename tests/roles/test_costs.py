"""`asynctls costs` as a process: of three roles of its own, and of a server that runs elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.testing import CA
    from tests.roles.processes import Daemons

pytestmark = pytest.mark.one_loop

# It takes a few seconds, and longer where others compute as well.
PATIENCE_S = 240.0
GROUPS = {
    *("hellos", "certificates", "key_exchange", "certificate_verify", "finished"),
    *("shared_secret", "messages", "receipts"),
}
OPERATIONS = {
    *("rsa_key_generation", "rsa_sign", "rsa_verify"),
    *("ecdsa_key_generation", "ecdsa_sign", "ecdsa_verify"),
    *("ecdhe", "aes_gcm", "hkdf", "hmac"),
}


@pytest.mark.timeout(PATIENCE_S + 30)
async def test_three_roles_are_run_and_accounted_for_as_json_and_as_a_page(
    asynctls: Daemons, tmp_path: Path
) -> None:
    page, temporary = tmp_path / "costs.html", tmp_path / "temporary"
    temporary.mkdir()

    command = await asynctls.start(
        "costs", "--json", "--html", page, environ={"TMPDIR": str(temporary)}
    )
    ended = await command.ended(within_s=PATIENCE_S)

    assert (ended.code, ended.said, command.events) == (0, [], [])
    account = json.loads(ended.out)
    assert account.keys() >= GROUPS | OPERATIONS
    assert all(account[group]["octets"] > 0 for group in GROUPS)
    assert all(account[operation]["seconds"] > 0 for operation in OPERATIONS)
    text = page.read_text()
    for at, told in enumerate(account["conversations"]):
        octets = told["octets"]
        shown = f'<data value="{octets}" data-of="conversations.{at}.octets">{octets:,}</data>'
        assert shown in text
    # With the keys that it made.
    assert list(temporary.iterdir()) == []


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
