"""Whoever is refused is told why and what to do, by an alert and in words; the log says who."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from asynctls.alerts import Alert
from asynctls.enrolment import JoinString, join
from asynctls.pki.keys import KeyType
from tests.roles.processes import run_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asynctls.enrolment import Identity
    from tests.roles.processes import Daemons, Event, Process

pytestmark = pytest.mark.one_loop

WHO = "asynctls: the server at {address} refused our certificate (alert {alert}, {words}) "


async def refused(client: Process, server: Process, peer: Identity, alert: Alert) -> str:
    """Checks that the client was refused by that alert, and the log; gives what the client said."""
    ended = await client.ended()
    assert (ended.code, ended.out) == (1, b""), client.events
    (line,) = ended.said
    address = (await server.event("listening"))["address"]
    beginning = WHO.format(address=address, alert=alert.value, words=alert.words)
    assert line.startswith(beginning)
    event: Event = await server.event("refused")
    assert event["alert"] == alert.value
    assert event["peer"] == f"{peer.name} (serial {peer.serial})"
    assert str(event["address"]).startswith("127.0.0.1:")
    return line.removeprefix(beginning)


async def test_who_is_not_on_the_allow_list(asynctls: Daemons, issued: Any) -> None:
    server, address = await asynctls.server(await issued("server"))
    stranger = await issued("stranger")
    client = await asynctls.client(stranger, address)
    said = await refused(client, server, stranger, Alert.ACCESS_DENIED)
    assert said == (
        "because stranger is not on its allow list: whoever runs it can let it in by "
        "--allow stranger"
    )
    assert server.named("refused")[0]["reason"] == (
        "it is not on the allow list; its names: stranger; allowed: client"
    )


async def test_who_was_issued_by_another_ca(
    asynctls: Daemons,
    issued: Any,
    running_ttp: Any,
    tmp_path: Path,
    program: Callable[[str], Path],
) -> None:
    server, address = await asynctls.server(await issued("server"))
    async with running_ttp(tmp_path / "another-ttp") as another:
        foreign = await join(
            tmp_path / "client",
            await another.token("client"),
            key_type=KeyType.ECDSA_P256,
            give_up_after=timedelta(seconds=10),
        )
        # Each is a stranger to the other, and the client sees the other's certificate first.
        client = await (await asynctls.client(foreign, address)).ended()
    assert (client.code, client.out) == (1, b"")
    assert client.said[0].startswith(f"asynctls: we refused the server at {address}")
    assert "who is not trusted here" in client.said[0]
    assert (await server.event("refused by peer"))["alert"] == Alert.UNKNOWN_CA

    told = await run_program(
        *(program("openssl"), "s_client", "-connect", address, "-tls1_2", "-alpn", "asynctls/1"),
        *("-cert", foreign.certificate_file, "-key", foreign.key_file),
    )
    assert any("SSL alert number 48" in line for line in told.said), told.said
    event = await server.event("refused")
    assert (event["alert"], event["peer"]) == (
        Alert.UNKNOWN_CA,
        f"client (serial {foreign.serial})",
    )
    assert "who is not trusted here" in str(event["reason"])


async def test_who_was_revoked_since(
    asynctls: Daemons, issued: Any, logged: Any, tmp_path: Path
) -> None:
    server, address = await asynctls.server(await issued("server"))
    identity = await issued("client")
    assert (await (await asynctls.client(identity, address)).ended()).code == 0
    logged.events.clear()
    revoking = await asynctls.run("ttp", "revoke", "client", "--state", tmp_path / "ttp")
    assert revoking.out.decode().split() == [identity.serial]
    await logged.until("CRL current")
    server.signal(signal.SIGHUP)
    await server.event("CRL taken")
    said = await refused(
        await asynctls.client(identity, address), server, identity, Alert.CERTIFICATE_REVOKED
    )
    assert said == (
        "because it has been revoked: if that is an error, get a new token "
        "('asynctls ttp token client') and join again with it"
    )
    assert server.named("refused")[0]["reason"].startswith("its certificate is revoked (CRL ")


async def test_whoever_comes_while_the_server_holds_no_current_crl(
    asynctls: Daemons, tmp_path: Path
) -> None:
    brief = ("--crl-lifetime", "3s", "--crl-interval", "1s")
    ttp, at = await asynctls.ttp(tmp_path / "ttp", *brief)
    held = {}
    for role in ("server", "client"):
        token = await asynctls.run("ttp", "token", role, "--state", tmp_path / "ttp")
        held[role] = await join(
            tmp_path / role,
            JoinString.parse(token.out.decode()),
            key_type=KeyType.ECDSA_P256,
            give_up_after=timedelta(seconds=10),
        )
    server, address = await asynctls.server(held["server"])
    assert (await ttp.stop()).code == 0
    crl = x509.load_pem_x509_crl(held["server"].crl_file.read_bytes())
    assert crl.next_update_utc is not None
    await asyncio.sleep((crl.next_update_utc - datetime.now(UTC)).total_seconds())

    # The TTP is back, and the client asks it for a CRL at its start; the server has not asked yet.
    again = ("--listen", at, "--crl-lifetime", "1h", "--crl-interval", "2s")
    await asynctls.ttp(tmp_path / "ttp", *again)
    said = await refused(
        await asynctls.client(held["client"], address),
        server,
        held["client"],
        Alert.INTERNAL_ERROR,
    )
    assert said == ("because it holds no current CRL: it must reach its TTP; try again after that")
    assert server.named("refused")[0]["reason"].startswith("we hold no current CRL of its issuer")
    server.signal(signal.SIGHUP)

    def has_another() -> bool:
        # By the signal, or soon after the refusal, which may have been quicker.
        names = [event["event"] for event in server.events]
        return "CRL taken" in names[names.index("refused") :]

    await server.until(has_another, "a CRL after the refusal")
    assert (await (await asynctls.client(held["client"], address)).ended()).code == 0


async def test_a_server_of_another_name(asynctls: Daemons, issued: Any) -> None:
    server, address = await asynctls.server(
        await issued("server", sans=("db.example", "spiffe://example/server"))
    )
    identity = await issued("client")
    nameless = await asynctls.start("client", "--state", identity.folder, "--connect", address)
    ended = await nameless.ended()
    assert (ended.code, ended.out) == (1, b"")
    (line,) = ended.said
    assert line.startswith(
        f"asynctls: we refused the server at {address}, expected to be 127.0.0.1: "
        "its certificate is for server, db.example, spiffe://example/server, not for 127.0.0.1; "
        "if that is the server you mean, say so: --server-name server"
    )
    heard = await server.event("refused by peer")
    assert heard["alert"] == Alert.BAD_CERTIFICATE
    for name in ("db.example", "spiffe://example/server"):
        by_name = await asynctls.client(identity, address, "--server-name", name)
        assert (await by_name.ended()).code == 0
    wrong = await asynctls.client(identity, address, "--server-name", "spiffe://example/other")
    assert (await wrong.ended()).code == 1


async def test_a_server_that_was_revoked(asynctls: Daemons, ttp: Any, issued: Any) -> None:
    identity = await issued("server")
    server, address = await asynctls.server(identity)
    await ttp.authority.revoke("server")
    ended = await (await asynctls.client(await issued("client"), address)).ended()
    assert (ended.code, ended.out) == (1, b"")
    (line,) = ended.said
    assert line.startswith(
        f"asynctls: we refused the server at {address}, expected to be server: "
        "its certificate is revoked (CRL "
    )
    heard = await server.event("refused by peer")
    assert heard["alert"] == Alert.CERTIFICATE_REVOKED
    assert str(heard["address"]).startswith("127.0.0.1:")
