"""A TTP that answers wrongly, slowly or not at all, or is somebody else, while a role lives by it.

The role says what was wrong, keeps its identity and serves on. Joining by such a TTP:
tests/enrolment/test_join.py.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import asynctls as library
from asynctls.enrolment import Identity, Keeper, connection, est_certificates, est_codec, join
from asynctls.errors import AsynctlsError, TTPNotTrustedError, TTPUnreachableError
from asynctls.http import FetchLimits
from asynctls.pki.certificates import certificate_from_der, certificates_from_pem
from asynctls.pki.keys import KeyType
from tests.listening import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from asynctls.testing import CA
    from tests.roles.processes import Daemons

pytestmark = pytest.mark.one_loop

HOUR = timedelta(hours=1)
# Renewed after eight seconds.
SHORT = timedelta(seconds=12)
UNREACHABLE, UNTRUSTED = TTPUnreachableError, TTPNotTrustedError
PAGE = b"<html><title>Welcome to the hotel</title></html>"


def http(body: bytes, *, status: int = 200, length: int | None = None) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: text/html\r\nContent-Length: "
    return f"{head}{length or len(body)}\r\n\r\n".encode() + body


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a wrong TTP says.

    Attributes:
        chain: what it shows in TLS, and the key; None: it takes connections, and says nothing.
        by_path: its answers, as bytes on the wire.
        otherwise: all others.
        cut: whether it then ends the connection.
        pause_s: between any two bytes.
    """

    chain: tuple[Path, Path] | None
    by_path: Mapping[str, bytes] = field(default_factory=dict)
    otherwise: bytes = b""
    cut: bool = False
    pause_s: float = 0.0

    async def give(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.chain is not None and not (self.cut and writer.is_closing()):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int((head.lower().partition(b"content-length: ")[2].split() or [b"0"])[0])
            await reader.readexactly(length)
            answer = self.by_path.get(head.split()[1].decode(), self.otherwise)
            for piece in (bytes((byte,)) for byte in answer) if self.pause_s else (answer,):
                writer.write(piece)
                await asyncio.sleep(self.pause_s)
            if self.cut:
                writer.close()
        await reader.read()


@asynccontextmanager
async def answering(port: int, answers: Answers) -> AsyncIterator[None]:
    """Somebody listens where the TTP should, and says this."""
    context = None
    if answers.chain is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*answers.chain)
    async with listening(answers.give, port=port, context=context):
        yield


class House:
    """A TTP that has gone, what it left on its disk, and identities that it issued."""

    def __init__(self, folder: Path, server: Identity, client: Identity) -> None:
        """Nobody answers.

        Args:
            folder: the TTP's.
            server: whose role lives by wrong TTPs from now on.
            client: another of its identities.
        """
        self.server, self.client = server, client
        self.port = server.ttp.port
        self.true_chain = (folder / "ttp.pem", folder / "ttp.key")
        root, *issuing = certificates_from_pem(server.trust.encode())
        self.authorities = http(est_certificates.encode_certificates([*issuing, root]))
        self.others_certificate = http(
            est_certificates.encode_certificates([certificate_from_der(client.certificate)])
        )

    def renewing(self, answer: bytes) -> Answers:
        """The true TTP, but for what it answers who renews."""
        by_path = {est_codec.CACERTS: self.authorities, est_codec.SIMPLE_REENROLL: answer}
        return Answers(chain=self.true_chain, by_path=by_path, otherwise=http(b"", status=500))


async def left_by(running_ttp: Any, tmp_path: Path, *, lifetime: timedelta) -> House:
    """A house whose server's certificate has that lifetime."""
    async with running_ttp(tmp_path / "ttp") as ttp:
        server, client = [
            await join(
                tmp_path / name,
                await ttp.token(name, sans=("127.0.0.1",), lifetime=its),
                key_type=KeyType.ECDSA_P256,
                give_up_after=HOUR,
            )
            for name, its in (("server", lifetime), ("client", HOUR))
        ]
    return House(tmp_path / "ttp", server, client)


def shown_by(identity: Identity) -> tuple[Path, Path]:
    return identity.certificate_file, identity.key_file


async def changes_nothing(
    house: House, keeper: Keeper, answers: Answers, kind: type[AsynctlsError], words: str
) -> None:
    async with answering(house.port, answers):
        with pytest.raises(kind, match=words):
            await keeper._renew_once()
        await keeper.refresh_crl()
        assert not keeper.in_touch
    assert keeper.identity is house.server
    assert Identity.load(house.server.folder) == house.server
    await keeper.server_credentials()


async def test_whatever_a_wrong_ttp_says_it_is_told_and_the_identity_stays(
    ca: CA, running_ttp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await left_by(running_ttp, tmp_path, lifetime=HOUR)
    true = house.true_chain
    silent = [
        (Answers(chain=None), "cannot be reached: .* within 0.3 s"),
        (Answers(chain=true), "no whole answer within 0.3 s"),
        (Answers(chain=true, otherwise=http(PAGE), pause_s=0.02), "no whole answer within 0.3 s"),
    ]
    wrong: list[tuple[Answers, type[AsynctlsError], str]] = [
        (Answers(chain=true, otherwise=http(b"later", status=500)), UNREACHABLE, r"\(500\)"),
        (Answers(chain=true, otherwise=b"SSH-2.0-no\r\n\r\n"), UNREACHABLE, "not good HTTP"),
        (
            Answers(chain=true, otherwise=http(PAGE, length=500), cut=True),
            UNREACHABLE,
            "HTTP|ended",
        ),
        (Answers(chain=true, otherwise=http(PAGE)), UNREACHABLE, "cannot be read"),
        (house.renewing(house.authorities), UNREACHABLE, "2 certificates instead of one"),
        (house.renewing(house.others_certificate), UNTRUSTED, "for another key than ours"),
        (Answers(chain=shown_by(house.client)), UNTRUSTED, "no id-kp-cmcRA"),
        (Answers(chain=shown_by(ca.identity("ttp", "127.0.0.1"))), UNTRUSTED, "not trusted here"),
    ]
    async with Keeper(house.server, crl_interval=HOUR) as keeper:
        with monkeypatch.context() as patch:
            # 15 s for an answer, and 10 s for a connection.
            patch.setattr(connection, "_LIMITS", FetchLimits(timeout_s=0.3))
            patch.setattr(connection, "_CONNECT_TIMEOUT_S", 0.3)
            for answers, words in silent:
                await changes_nothing(house, keeper, answers, UNREACHABLE, words)
        for answers, kind, words in wrong:
            await changes_nothing(house, keeper, answers, kind, words)
        async with running_ttp(tmp_path / "ttp", port=house.port):
            await keeper._renew_once()
            await keeper.refresh_crl()
            assert keeper.in_touch
        assert Identity.load(house.server.folder) == keeper.identity != house.server


async def test_a_server_serves_on_while_somebody_poses_as_its_ttp_and_renews_by_the_true_one(
    asynctls: Daemons, ca: CA, running_ttp: Any, tmp_path: Path
) -> None:
    house = await left_by(running_ttp, tmp_path, lifetime=SHORT)
    async with answering(house.port, Answers(chain=shown_by(ca.identity("ttp", "127.0.0.1")))):
        server, address = await asynctls.server(house.server, "--crl-interval", "1s")
        for event in ("CRL not fetched", "certificate not renewed"):
            assert "who is not trusted here" in (await server.event(event))["reason"]
        async with library.connect(address, server_name="server", identity=house.client) as session:
            assert await session.receive()
    async with running_ttp(tmp_path / "ttp", port=house.port):
        renewed = await server.event("certificate renewed")
        await server.event("CRL fetched again")
    assert Identity.load(house.server.folder).serial == renewed["serial"]
    assert (await server.stop()).code == 0
