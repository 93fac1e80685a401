"""What is accounted for is what was on the wire: the ends count the same, and so does tshark."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.config import ClientConfig
from asynctls.costs import roles
from asynctls.costs.ends import Caller, Held, conversation_of
from asynctls.costs.roles import Sending, serving_messages
from asynctls.enrolment.joining import join_in_memory
from asynctls.enrolment.keeper import Keeper
from asynctls.pki.keys import KeyType
from asynctls.testing.authority import CA
from asynctls.tls import Part
from asynctls.tls.records import HandshakeType

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asynctls.costs.wire import Recording, Relay
    from asynctls.enrolment import Identity, JoinString
    from tests.conftest import Program

_PATIENCE_S = 20.0
_FIELDS = ("tcp.srcport", "udp.length", "tls.record.length", "tls.handshake.type")
MESSAGES = 3


class Capture:
    """A tshark that captures one TCP port on loopback, live."""

    def __init__(self, process: asyncio.subprocess.Process, beacon: socket.socket) -> None:
        self._process = process
        self._beacon = beacon
        self.packets: list[list[str]] = []

    async def caught_up(self, length: int) -> None:
        """Returns once it shows what we send now; a datagram's length tells one from others."""
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                self._beacon.sendto(b"!" * length, self._beacon.getsockname())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await self._until(str(length + 8))
                        return

    async def _until(self, udp_length: str) -> None:
        assert self._process.stdout is not None
        while True:
            line = await self._process.stdout.readline()
            if not line:
                assert self._process.stderr is not None
                pytest.skip(f"tshark may not capture: {(await self._process.stderr.read())!r}")
            packet = line.decode().rstrip("\n").split("\t")
            if packet[1] == udp_length:
                return
            if packet[0]:
                self.packets.append(packet)

    def records(self, port: int, *, from_port: bool) -> list[int]:
        """The lengths of the TLS records that went from that port, or to it, with their headers."""
        return [5 + n for packet in self._those(port, from_port) for n in _numbers(packet[2])]

    def handshake_types(self, port: int, *, from_port: bool) -> list[int]:
        """The types of the handshake messages that it could read."""
        return [n for packet in self._those(port, from_port) for n in _numbers(packet[3])]

    def _those(self, port: int, from_port: bool) -> list[list[str]]:  # noqa: FBT001
        return [packet for packet in self.packets if (packet[0] == str(port)) is from_port]


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",") if each]


@contextlib.asynccontextmanager
async def capturing(tshark: Path, port: int) -> AsyncIterator[Capture]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as beacon:
        beacon.bind(("127.0.0.1", 0))
        process = await asyncio.create_subprocess_exec(
            *(str(tshark), "-i", "lo", "-n", "-l", "-Q", "-d", f"tcp.port=={port},tls"),
            *("-f", f"tcp port {port} or udp port {beacon.getsockname()[1]}"),
            *("-T", "fields", *(word for name in _FIELDS for word in ("-e", name))),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield Capture(process, beacon)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.communicate()


@pytest.fixture
async def calling(tmp_path: Path) -> AsyncIterator[tuple[Caller, Relay]]:
    """A client whose sessions with a server go through a relay."""
    ca = CA(tmp_path)
    server, client = ca.identity("server"), ca.identity("client")
    async with (
        Keeper(client, crl_interval=ClientConfig().crl_interval) as keeper,
        serving_messages(Sending(MESSAGES), server, allow="client") as relay,
    ):
        yield (
            Caller(
                keeper,
                through=relay.address,
                address=relay.address,
                server_name="server",
                quiet_s=_PATIENCE_S,
                most=MESSAGES + 1,
            ),
            relay,
        )


async def full_and_resumed(caller: Caller, relay: Relay) -> list[tuple[Held, Recording]]:
    full = await caller.session()
    resumed = await caller.session(full.session)
    assert (full.resumed, resumed.resumed) == (False, True)
    return list(zip((full, resumed), await relay.take(), strict=True))


async def test_the_ends_have_counted_what_the_relay_has_listed(
    calling: tuple[Caller, Relay],
) -> None:
    for held, recording in await full_and_resumed(*calling):
        sent, received = (recording.counted(by_client=each) for each in (True, False))
        assert held.sent.bytes_by_part == sent
        # What arrived after our close is read off by the close, and counted by nobody here.
        assert held.received.bytes_by_part | {Part.ALERTS: 0} == received | {Part.ALERTS: 0}
        assert sum(sent.values()) == recording.octets[True]
        assert sum(received.values()) == recording.octets[False]
        for by_client, total in recording.octets.items():
            listed = [each.message for each in recording.seen if each.by_client is by_client]
            assert sum(message.octets for message in listed) == total
        account = conversation_of(held, recording, kind="session", key_type="ecdsa-p256")
        assert account.octets == recording.octets[True] + recording.octets[False]
        assert account.sent_messages == MESSAGES


@pytest.mark.one_loop
async def test_a_capture_agrees_to_the_byte(
    calling: tuple[Caller, Relay], program: Program
) -> None:
    tshark = program("tshark")
    caller, relay = calling
    port = relay.address.port
    async with capturing(tshark, port) as capture:
        await capture.caught_up(101)
        found: list[Any] = [recording for _, recording in await full_and_resumed(caller, relay)]
        await capture.caught_up(102)
    seen = [each for recording in found for each in recording.seen]
    for by_client in (True, False):
        ours = [each.message for each in seen if each.by_client is by_client]
        from_port = not by_client
        records = capture.records(port, from_port=from_port)
        assert records == [message.octets for message in ours]
        assert sum(records) == sum(recording.octets[by_client] for recording in found)
        assert capture.handshake_types(port, from_port=from_port) == [
            HandshakeType[_upper(message.name)]
            for message in ours
            if not message.encrypted and _upper(message.name) in HandshakeType.__members__
        ]


@pytest.mark.one_loop
async def test_a_capture_of_an_enrolment_agrees_to_the_byte(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    tshark = program("tshark")
    captures: list[tuple[int, Capture]] = []

    async def captured(join_string: JoinString, **words: Any) -> Identity:
        port = join_string.address.port
        async with capturing(tshark, port) as capture:
            await capture.caught_up(101)
            identity = await join_in_memory(join_string, **words)
            await capture.caught_up(102)
        captures.append((port, capture))
        return identity

    monkeypatch.setattr(roles, "join_in_memory", captured)
    async with roles.ttp(tmp_path / "ttp", KeyType.ECDSA_P256) as authority:
        _, conversations = await authority.join("client")
    ((port, capture),) = captures
    for sender in ("client", "ttp"):
        records = capture.records(port, from_port=sender == "ttp")
        ours = [each for told in conversations for each in told.messages if each.sender == sender]
        assert len(records) == sum(message.records for message in ours)
        assert sum(records) == sum(message.octets for message in ours)


def _upper(name: str) -> str:
    return "".join(f"_{c}" if c.isupper() else c for c in name).upper().lstrip("_")
