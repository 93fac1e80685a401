"""The default app: one message to each client, which counts as sent when its receipt is in."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis.strategies import text

import asynctls as library
from asynctls.config.template import PLACEHOLDERS, check_template, fill_in
from asynctls.errors import SessionRefusedError
from asynctls.server.apps import message_app

if TYPE_CHECKING:
    from tests.roles.processes import Daemons

TEXT = 'zwölf Euro, "quoted"\nand a second line'


async def test_the_configured_message_goes_to_each_client(asynctls: Daemons, issued: Any) -> None:
    server, address = await asynctls.server(await issued("server"), "--message", TEXT)
    identity = await issued("client")
    for number in (1, 2):
        async with library.connect(address, server_name="server", identity=identity) as session:
            assert (await session.receive()).decode() == TEXT
        sent = await server.event("message sent", count=number)
        assert sent["bytes"] == len(TEXT.encode())
        assert sent["peer"] == f"client (serial {identity.serial})"
    # It is the client's business, not the log's.
    assert "zw" not in str(server.events)


async def test_what_is_asked_for_is_filled_in_anew_for_each_client(
    asynctls_pair: Any, logged: Any
) -> None:
    app = message_app("{{{name}}} at {time}: {otp}, again {otp}")
    async with asynctls_pair(app) as pair:
        said = [(await pair.session.receive()).decode()]
        async with library.connect(
            pair.address, server_name="server", identity=pair.client
        ) as session:
            said.append((await session.receive()).decode())
    found = [re.fullmatch(r"\{client\} at (\S+): (\d{6}), again (\d{6})", each) for each in said]
    assert all(found)
    (at, first, again), (_, second, _) = (each.groups() for each in found if each)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(at)) < timedelta(minutes=1)
    assert at.endswith("Z")
    assert first == again
    # Once in a million runs they are the same.
    assert first != second
    await logged.until("message sent", count=2)
    assert first not in str(logged.named("message sent"))


@given(text())
def test_a_text_whose_braces_are_doubled_goes_out_as_it_was(text: str) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")
    check_template(doubled)
    assert fill_in(doubled, {}) == text


@given(text(alphabet="{}nameotp!:[0]. "))
def test_a_text_that_was_not_refused_can_be_filled_in(text: str) -> None:
    try:
        check_template(text)
    except ValueError:
        return
    fill_in(text, dict.fromkeys(PLACEHOLDERS, ""))


async def test_a_client_that_never_acknowledges_is_given_up(asynctls: Daemons, issued: Any) -> None:
    server, address = await asynctls.server(await issued("server"), "--receipt-timeout", "1s")
    identity = await issued("client")
    async with library.connect(address, server_name="server", identity=identity) as session:
        ended = await server.event("session ended")
        assert "no receipt came within 1 s" in str(ended["reason"])
        await session.receive()
        with pytest.raises(SessionRefusedError, match="no receipt came within 1 s"):
            await session.receive()
    assert not server.named("message sent")


async def test_the_end_of_a_session_says_what_it_cost(asynctls: Daemons, issued: Any) -> None:
    server, address = await asynctls.server(await issued("server"))
    client = await asynctls.client(await issued("client"), address)
    assert (await client.ended()).code == 0
    common = {"hellos", "certificates", "key_exchange", "finished", "CLOSE", "alerts"}
    for each, more in (
        (server, {"READY", "DATA", "tickets"}),
        (client, {"KEY", "RECEIPT", "certificate_verify"}),
    ):
        ended = await each.event("session ended")
        sent: Any = ended["sent"]
        assert common | more <= set(sent)
        assert all(count > 0 for count in sent.values())
        assert float(str(ended["hmac_us"])) > 0
