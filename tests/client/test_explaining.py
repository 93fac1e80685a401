"""What ``--explain`` tells: each step of this very run, in order, and what was refused."""

from __future__ import annotations

import io
import re
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import asynctls as library
from asynctls.alerts import Alert
from asynctls.client.explaining import Explainer
from asynctls.client.sentences import STEPS, step_of
from asynctls.enrolment import Keeper
from asynctls.enrolment.joining import ensure_identity_alone
from asynctls.errors import (
    BindingMismatchError,
    ForgedError,
    HandshakeError,
    PeerRefusedError,
    RefusedByPeerError,
    SessionClosedError,
    TTPNotTrustedError,
    TTPUnreachableError,
)
from asynctls.pki.keys import KeyType

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls import Session
    from asynctls.errors import AsynctlsError
    from tests.roles.processes import Daemons

MESSAGE = b"secret words"


async def app(session: Session) -> None:
    await session.send(MESSAGE, receipt=True)
    async for _ in session:
        pass


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.one_loop
async def test_a_client_that_joins_and_sends_tells_every_step_in_order(
    asynctls: Daemons, ttp: Any, serving: Any, tmp_path: Path
) -> None:
    token = await ttp.token("client")
    async with serving(app) as address:
        words = ("--connect", address, "--server-name", "server", "--send", "-", "--explain")
        client = await asynctls.start(
            *("client", "--state", tmp_path / "client", *words),
            given="one line\n",
            environ={"ASYNCTLS_JOIN": token.format()},
        )
        ended = await client.ended()
    assert (ended.code, ended.out) == (0, MESSAGE + b"\n")
    told = [line for line in ended.said if line != "Message received"]
    # Its receipt and the server's message come in no order that anybody promises.
    (delivered,) = (
        line for line in told if line.startswith("Line 1, 8 bytes, was taken by server")
    )
    assert "message that was dropped" in delivered
    told.remove(delivered)
    begins = [
        "We made our RSA 2048 key pair ourselves",
        f"We ask the TTP at {ttp.address} for its root",
        "The root that it sent has the SHA-256 which our join string names, "
        + token.root_sha256.hex()[:8],
        f"A second connection shows that the TTP at {ttp.address} has a certificate",
        "The TTP issued certificate",
        f"TCP connects us with {address}",
        "Our ClientHello,",
        "The server's certificate",
        "We show our certificate, client (",
        "Both Finished messages are right",
        "Inside that channel we share a fresh secret of 32 bytes (KEY,",
        "READY came with a tag that only those keys can make: server has",
        f"A message of {len(MESSAGE)} bytes has the right MAC",
        "Both ends said CLOSE",
    ]
    for line, begin in zip(told, begins, strict=True):
        assert line.startswith(begin)
        assert re.search(r" Stops [^.]+\. \((RFC|docs).*\)$", line)
    hello, verified, proven, finished = told[6], told[7], told[8], told[9]
    assert "TLS 1.2 and no other version, 4 cipher suites" in hello
    assert "the protocol asynctls/1" in hello
    assert "its names (server) match server" in verified
    assert "CRL 5 of " in verified
    assert re.search(r"\([0-9],[0-9]{3} bytes with its chain\)", proven)
    assert re.search(r"agree on TLSv1\.2 with ECDHE-ECDSA-AES\d+-GCM-SHA\d+", finished)
    for secret in (token.secret.reveal().decode(), MESSAGE.decode(), "one line", "PRIVATE"):
        assert secret not in "\n".join(ended.said)
    # What is no step is logged as ever, and what is told is not logged as well.
    assert {event["event"] for event in client.events}.isdisjoint(STEPS)


@pytest.mark.one_loop
async def test_a_client_that_follows_tells_each_session_and_a_reload_changes_nothing_of_that(
    asynctls: Daemons, issued: Any, serving: Any
) -> None:
    async def once(session: Session) -> None:
        await session.send(MESSAGE, receipt=True)

    async with serving(once) as address:
        client = await asynctls.client(await issued("client"), address, "--follow", "--explain")
        await client.received(1)
        client.signal(signal.SIGHUP)
        await client.event("reloaded")
        before = client.said.count("Message received")
        # One may have connected before the reload; of the two that did not, the second resumes.
        await client.received(before + 3)
        ended = await client.stop()
    assert (ended.code, set(ended.out.splitlines())) == (0, {MESSAGE})
    steps = [line for line in ended.said if line != "Message received"]
    begins = (
        *("Our identity is on disk", "TCP connects", "Our ClientHello", "TLS resumes our last"),
        "READY came",
    )
    found, connected, offered, resumed, opened = (
        sum(line.startswith(begin) for line in steps) for begin in begins
    )
    taken = sum(line.startswith("A message of") for line in steps)
    assert found == 1
    assert connected >= offered >= opened >= taken == ended.out.count(MESSAGE) >= before + 3
    assert opened > resumed > 0
    assert all(re.search(r" Stops [^.]+\. \((RFC|docs).*\)$", line) for line in steps)
    assert {event["event"] for event in client.events}.isdisjoint(STEPS)
    assert client.named("connecting again")


async def test_an_identity_that_was_there_and_a_newer_crl_are_told(
    ttp: Any, issued: Any, logged: Any
) -> None:
    identity = await issued("client")
    await issued("other")
    await ttp.authority.revoke("other", reason="keyCompromise")
    found = await ensure_identity_alone(
        identity.folder, key_type=KeyType.ECDSA_P256, give_up_after=None
    )
    async with Keeper(found, crl_interval=timedelta(hours=1)):
        await logged.until("CRL taken")
    who, crl = (step_of(logged.named(name)[-1]) for name in ("identity found", "CRL taken"))
    assert who is not None
    assert f"certificate {identity.serial[:8]}… names client until" in who.words
    assert crl is not None
    assert "1 revoked" in crl.words


async def test_a_server_of_another_name_is_told_as_refused(
    issued: Any, serving: Any, logged: Any
) -> None:
    identity = await issued("client")
    async with serving(app) as address:
        with pytest.raises(PeerRefusedError):
            async with library.connect(address, server_name="bank", identity=identity):
                pytest.fail("the server was let in")
    steps = [step for event in logged.events if (step := step_of(event)) is not None]
    (refused,) = (step for step in steps if step.refused)
    assert refused.words == (
        f"We refused whoever answers at {address} and should be bank: its certificate is for "
        "server, not for bank; we told it by alert 42 (bad certificate)."
    )
    assert "wrong hands" in refused.stops
    assert not any("READY" in step.words for step in steps)


@pytest.mark.parametrize(
    ("event", "error", "stops"),
    [
        (
            "handshake failed",
            RefusedByPeerError("told", alert=Alert.CERTIFICATE_REVOKED),
            "a stolen key",
        ),
        ("handshake failed", HandshakeError("the server went away"), "from being used"),
        ("session failed", ForgedError("a tag that the key did not make"), "without the key"),
        ("session failed", BindingMismatchError("no READY"), "a relay that ends TLS in between"),
        ("not joined", TTPNotTrustedError("another root"), "a false TTP"),
    ],
)
def test_what_was_not_taken_is_told_with_what_it_would_have_been(
    event: str, error: AsynctlsError, stops: str
) -> None:
    step = step_of({"event": event, "address": "h:1", "name": "server", "error": error})
    assert step is not None
    assert step.refused
    assert stops in step.stops


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ("session failed", SessionClosedError("this end has ended the session")),
        ("not joined", TTPUnreachableError("no answer")),
    ],
)
def test_what_is_no_attack_is_told_as_none(event: str, error: AsynctlsError) -> None:
    assert step_of({"event": event, "error": error}) is None


def test_a_session_that_is_cut_is_not_told_as_closed() -> None:
    step = step_of({"event": "session ended", "peer": "server (serial 1)", "reason": "it was cut"})
    assert step is not None
    assert step.refused
    assert "it was cut" in step.words


ESCAPES = {
    "event": "session ended",
    "peer": "server\x1b[2J (serial 1)",
    "reason": "the peer has ended the session: internal: \x9b31m and so on, " + "and on " * 30,
}


def test_on_a_terminal_it_is_folded_and_no_escape_of_a_peer_does_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    assert Explainer(terminal)(ESCAPES)
    shown = terminal.getvalue()
    assert "\x1b[31m" in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert len(plain.splitlines()) > 5
    assert max(map(len, plain.splitlines())) <= 60
    assert plain.replace("\n", "").isprintable()


def test_elsewhere_it_is_one_line_and_a_stream_that_is_gone_ends_nothing() -> None:
    stream = io.StringIO()
    explain = Explainer(stream)
    assert explain(ESCAPES)
    assert not explain({"event": "something else"})
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    stream.close()
    assert explain(ESCAPES)
    assert Explainer(None)(ESCAPES)
