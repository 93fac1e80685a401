"""OpenSSL's own client is let in or hears the alert that names why it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asynctls.alerts import Alert
from tests.roles.processes import run_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.roles.processes import Daemons

ALPN = ("-alpn", "asynctls/1")


async def test_s_client_hears_why_it_is_refused_and_the_log_says_so(
    asynctls: Daemons, issued: Any, program: Callable[[str], Path]
) -> None:
    openssl = program("openssl")
    server, address = await asynctls.server(await issued("server"))
    allowed, stranger = await issued("client"), await issued("stranger")
    own, other = (
        ("-cert", identity.certificate_file, "-key", identity.key_file)
        for identity in (allowed, stranger)
    )
    # OpenSSL 3 speaks the old versions at security level 0 only.
    old = ("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
    refusals: list[tuple[tuple[str | Path, ...], Alert, str]] = [
        ((*old, *ALPN, *own), Alert.PROTOCOL_VERSION, "TLS 1.2 is the one version spoken here"),
        (("-tls1_3", *ALPN, *own), Alert.PROTOCOL_VERSION, "TLS 1.2 is the one version"),
        (("-tls1_2", *ALPN), Alert.HANDSHAKE_FAILURE, "it showed no certificate"),
        (("-tls1_2", *own), Alert.NO_APPLICATION_PROTOCOL, "the application protocol is"),
        (
            ("-tls1_2", "-alpn", "http/1.1", *own),
            Alert.NO_APPLICATION_PROTOCOL,
            "the application protocol is",
        ),
        (("-tls1_2", *ALPN, *other), Alert.ACCESS_DENIED, "it is not on the allow list"),
        (
            ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384", *ALPN, *own),
            Alert.HANDSHAKE_FAILURE,
            "cipher suites",
        ),
    ]
    connect = (openssl, "s_client", "-connect", address, "-CAfile", allowed.trust_file)
    for number, (options, alert, reason) in enumerate(refusals, start=1):
        ended = await run_program(*connect, *options)
        told = [line for line in ended.said if f"SSL alert number {alert.value}" in line]
        assert told, (options, ended.said)
        event = await server.event("refused", count=number)
        assert event["alert"] == alert.value
        assert reason in str(event["reason"])
        assert str(event["address"]).startswith("127.0.0.1:")
    named = [event["peer"] for event in server.named("refused")]
    assert named[5] == f"stranger (serial {stranger.serial})"
    assert named[2] == "unknown"

    let_in = await run_program(*connect, "-tls1_2", *ALPN, *own, "-verify_return_error")
    assert b"ALPN protocol: asynctls/1" in let_in.out
    assert b"Verify return code: 0 (ok)" in let_in.out
    assert not any("alert" in line for line in let_in.said)
    # It knows TLS, and nothing of what comes then.
    ended_session = await server.event("session ended")
    assert ended_session["reason"] == "the client ended the connection before KEY"
    assert len(server.named("refused")) == len(refusals)


async def test_what_is_not_tls_is_named_and_hurts_nobody(
    asynctls: Daemons, issued: Any, program: Callable[[str], Path]
) -> None:
    server, address = await asynctls.server(await issued("server"))
    ended = await run_program(program("curl"), "--silent", "--max-time", "5", f"http://{address}/")
    assert ended.code != 0
    event = await server.event("handshake failed")
    assert "it looks like HTTP" in str(event["reason"])
    client = await asynctls.client(await issued("client"), address)
    assert (await client.ended()).code == 0
