"""The roles of an account: what is told of an enrolment is no help to whoever reads it."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from asynctls.costs import roles
from asynctls.enrolment.joining import join_in_memory
from asynctls.pki.keys import KeyType

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.enrolment import Identity, JoinString


@pytest.mark.one_loop
async def test_an_enrolment_is_told_without_its_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[JoinString] = []

    async def joining(join_string: JoinString, **words: Any) -> Identity:
        used.append(join_string)
        return await join_in_memory(join_string, **words)

    monkeypatch.setattr(roles, "join_in_memory", joining)
    async with roles.ttp(tmp_path / "ttp", KeyType.ECDSA_P256) as authority:
        identity, told = await authority.join("server")
    (join_string,) = used
    secret = join_string.secret.reveal().decode()
    credentials = b64encode(f"{join_string.token_id}:{secret}".encode()).decode()
    text = msgspec.json.encode(told).decode()
    assert "POST /simpleenroll" in text
    for hidden in (secret, credentials, "Basic", "PRIVATE"):
        assert hidden not in text
    assert identity.name == "server"
