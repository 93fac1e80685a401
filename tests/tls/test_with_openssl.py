"""What another program is told: `openssl s_client` by our server, `s_server` by our client."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

import pytest

from asynctls.alerts import Alert
from asynctls.errors import HandshakeError, RefusedByPeerError, TruncatedError
from asynctls.tls import Gate, Stream, client_context, server_context
from tests.given import on_stdin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asynctls.tls import Admit
    from tests.conftest import Program
    from tests.tls.conftest import Holder, Kit, World


@contextlib.asynccontextmanager
async def serving(kit: Kit, admit: Admit) -> AsyncIterator[tuple[int, list[object]]]:
    """A server that echoes; gives its port, and what became of each connection."""
    world = kit.world
    context = server_context(
        chain=world.server.chain, key=world.server.key, trust=world.trust, alpn=[kit.alpn]
    )
    gate = Gate(8)
    ends: list[object] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            stream = await Stream.accept(
                reader, writer, context, admit=admit, gate=gate, timeout_s=10
            )
        except HandshakeError as error:
            ends.append(error)
            return
        ends.append(stream)
        try:
            while piece := await stream.read():
                stream.write(piece)
        except TruncatedError as error:
            ends.append(error)
        await stream.close()

    async with kit.listening(handle) as port:
        yield port, ends


async def s_client(openssl: Path, port: int, *options: str, typed: bytes = b"") -> str:
    with on_stdin(typed) as stdin:
        process = await asyncio.create_subprocess_exec(
            openssl,
            *("s_client", "-connect", f"127.0.0.1:{port}", *options),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(20):
            printed, _ = await process.communicate()
    return printed.decode("utf-8", "replace")


def holding(holder: Holder, world: World) -> list[str]:
    return [
        *("-cert", str(holder.leaf), "-key", str(holder.key)),
        *("-CAfile", str(world.trust_file), "-verify_return_error"),
    ]


def told(printed: str) -> int | None:
    found = re.search(r"SSL alert number (\d+)", printed)
    return int(found[1]) if found else None


async def test_s_client_reaches_us(kit: Kit, program: Program) -> None:
    async with serving(kit, kit.let_in) as (port, ends):
        printed = await s_client(
            program("openssl"),
            port,
            *("-tls1_2", "-alpn", kit.alpn, "-verify_hostname", "server", "-x509_strict"),
            *holding(kit.world.client, kit.world),
        )
    assert told(printed) is None
    assert isinstance(ends[0], Stream)
    assert ends[0].alpn == kit.alpn
    assert f"ALPN protocol: {kit.alpn}" in printed
    assert "Verify return code: 0 (ok)" in printed
    assert "Extended master secret: yes" in printed
    assert "Compression: NONE" in printed


def by_alpn(kit: Kit) -> Admit:
    def admit(certificate: bytes | None, alpn: str | None) -> object:
        if alpn is None:
            return kit.decision(Alert.NO_APPLICATION_PROTOCOL, "no common protocol")
        return kit.decision()

    return admit  # type: ignore[return-value]


@pytest.mark.parametrize("who", ["client", "expired", "stranger", "nobody"])
async def test_openssls_own_refusals_are_told(
    kit: Kit, other_world: World, program: Program, who: str
) -> None:
    shown, alert = {
        "client": (kit.world.client, None),
        "expired": (kit.world.expired, Alert.CERTIFICATE_EXPIRED),
        "stranger": (other_world.client, Alert.UNKNOWN_CA),
        "nobody": (None, Alert.HANDSHAKE_FAILURE),
    }[who]
    options = holding(shown, kit.world) if shown else []
    async with serving(kit, by_alpn(kit)) as (port, ends):
        printed = await s_client(program("openssl"), port, "-tls1_2", "-alpn", kit.alpn, *options)
    assert told(printed) == alert
    if alert is not None:
        assert getattr(ends[0], "alert", None) is alert
        assert getattr(ends[0], "certificate", None) == (shown.certificate if shown else None)


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1", "-tls1_3"])
async def test_other_versions_are_told(kit: Kit, program: Program, version: str) -> None:
    async with serving(kit, kit.let_in) as (port, ends):
        printed = await s_client(
            program("openssl"),
            port,
            *(version, "-cipher", "DEFAULT:@SECLEVEL=0"),
            *holding(kit.world.client, kit.world),
        )
    assert told(printed) == Alert.PROTOCOL_VERSION
    assert "TLS 1.2 is the one version spoken here" in str(ends[0])


@pytest.mark.parametrize("options", [(), ("-alpn", "http/1.1")])
async def test_another_alpn_or_none_is_told(
    kit: Kit, program: Program, options: tuple[str, ...]
) -> None:
    async with serving(kit, by_alpn(kit)) as (port, _):
        printed = await s_client(
            program("openssl"), port, "-tls1_2", *options, *holding(kit.world.client, kit.world)
        )
    assert told(printed) == Alert.NO_APPLICATION_PROTOCOL


@pytest.mark.parametrize(
    "alert", [Alert.CERTIFICATE_REVOKED, Alert.ACCESS_DENIED, Alert.INTERNAL_ERROR]
)
async def test_what_admit_says_is_told(kit: Kit, program: Program, alert: Alert) -> None:
    async with serving(kit, kit.refuse(alert)) as (port, _):
        printed = await s_client(
            program("openssl"), port, "-tls1_2", *holding(kit.world.client, kit.world)
        )
    assert told(printed) == alert


async def test_a_renegotiation_is_refused(kit: Kit, program: Program) -> None:
    async with serving(kit, kit.let_in) as (port, ends):
        printed = await s_client(
            program("openssl"),
            port,
            "-tls1_2",
            *holding(kit.world.client, kit.world),
            typed=b"R\n",
        )
    assert isinstance(ends[0], Stream)
    assert "RENEGOTIATING" in printed
    assert "no renegotiation" in printed


async def test_s_client_resumes(kit: Kit, program: Program, tmp_path: Path) -> None:
    session = str(tmp_path / "session.pem")
    options = ["-tls1_2", *holding(kit.world.client, kit.world)]
    openssl = program("openssl")
    async with serving(kit, kit.let_in) as (port, ends):
        await s_client(openssl, port, *options, "-sess_out", session)
        printed = await s_client(openssl, port, *options, "-sess_in", session)
    assert "Reused, TLSv1.2" in printed
    assert isinstance(ends[1], Stream)
    assert ends[1].resumed
    assert ends[1].peer_certificate == kit.world.client.certificate


@pytest.mark.parametrize(
    ("options", "alert"),
    [
        (("-tls1_3",), Alert.PROTOCOL_VERSION),
        (("-tls1_2", "-cipher", "AES256-SHA"), Alert.HANDSHAKE_FAILURE),
        (("-tls1_2", "-Verify", "1"), Alert.UNKNOWN_CA),
    ],
)
async def test_our_client_says_why_a_server_refused_it(
    kit: Kit, other_world: World, program: Program, options: tuple[str, ...], alert: Alert
) -> None:
    world = kit.world
    process = await asyncio.create_subprocess_exec(
        program("openssl"),
        *("s_server", "-accept", "127.0.0.1:0", "-naccept", "1"),
        *("-cert", str(world.server.chain), "-key", str(world.server.key)),
        *("-CAfile", str(other_world.trust_file), "-verify_return_error"),
        *options,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            port = 0
            while not port:
                line = (await process.stdout.readline()).decode()
                assert line, "s_server ended"
                if found := re.match(r"ACCEPT .*:(\d+)$", line.strip()):
                    port = int(found[1])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            context = client_context(
                trust=world.trust, chain=world.client.chain, key=world.client.key
            )
            with pytest.raises(RefusedByPeerError) as caught:
                await Stream.connect(
                    reader,
                    writer,
                    context,
                    server_hostname="server",
                    admit=kit.let_in,
                    timeout_s=10,
                )
        assert caught.value.alert is alert
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
