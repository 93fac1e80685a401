"""TLS connections (`tls.engine`): whatever the other end says is one of our errors, or harmless."""

from __future__ import annotations

import contextlib
from functools import cache
from typing import TYPE_CHECKING, Final

from asynctls.admission import Admitted, Anyone, Rules, admit
from asynctls.enrolment import crls
from asynctls.errors import AsynctlsError
from asynctls.testing import CA
from asynctls.tls import Engine, Side, client_context, server_context
from tests.fuzz.scratch import scratch_folder

if TYPE_CHECKING:
    import ssl

    from asynctls.tls import Admit
    from asynctls.tls.sides import Verdict

_ALPN: Final = "asynctls/1"
_EDIT: Final = 4
_SAID: Final = b"what each end says to the other"


def run(data: bytes) -> bool:
    """What a stranger says to each side; or, behind a zero, edits to the octets of a connection.

    Each edit is of four bytes: two of a place, counted through both directions as they fall due,
    one whose bits are turned over there, and one that is not zero where the connection ends behind
    it.
    """
    if data[:1] != b"\0":
        for engine in _engines():
            _hear(engine, data)
        return False
    return _edited(data[1:])


def _hear(engine: Engine, data: bytes) -> None:
    with contextlib.suppress(AsynctlsError):
        engine.handshake()
        engine.data_to_send()
        for piece in (data, b""):
            engine.receive_data(piece)
            assert not engine.handshake(), "a handshake with nobody"


def _edited(edits: bytes) -> bool:
    """A connection from its first octet to its end; whether it was as good as any."""
    client, server = _engines()
    wire = _Wire(edits)
    try:
        for _ in range(4):
            ready = client.handshake()
            wire.carry(client, server)
            ready &= server.handshake()
            wire.carry(server, client)
        if not ready:
            # One end waits for the rest of what was made longer.
            return False
        for one, other in ((client, server), (server, client)):
            one.write(_SAID)
            one.close_notify()
            wire.carry(one, other)
            assert other.read(100) == _SAID, "words that nobody said"
            assert other.read(100) == b""
    except AsynctlsError as error:
        assert str(error).isprintable()
        return False
    return not wire.changed


class _Wire:
    def __init__(self, edits: bytes) -> None:
        self.changed = False
        self._at = 0
        self._edits = [
            (int.from_bytes(edits[at : at + 2], "big"), edits[at + 2], edits[at + 3])
            for at in range(0, len(edits) - _EDIT + 1, _EDIT)
        ]

    def carry(self, one: Engine, other: Engine) -> None:
        flight = bytearray(one.data_to_send())
        ended = False
        for place, octet, ends in self._edits:
            at = place - self._at
            if 0 <= at < len(flight):
                self.changed |= octet != 0 or ends != 0
                flight[at] ^= octet
                if ends:
                    del flight[at + 1 :]
                    ended = True
        self._at += len(flight)
        if flight:
            other.receive_data(bytes(flight))
        if ended:
            other.receive_data(b"")


def _engines() -> tuple[Engine, Engine]:
    client, server, judge = _world()
    return (
        Engine(client, side=Side.CLIENT, admit=judge, server_hostname="server"),
        Engine(server, side=Side.SERVER, admit=judge),
    )


@cache
def _world() -> tuple[ssl.SSLContext, ssl.SSLContext, Admit]:
    ca = CA(scratch_folder("handshakes"))
    client, server = ca.identity("client"), ca.identity("server")
    rules = Rules(allow=Anyone(), crls=crls.on_disk(server), alpn=_ALPN)

    def judge(certificate: bytes | None, alpn: str | None) -> Verdict:
        verdict = admit(certificate, alpn, now=server.not_before, rules=rules)
        assert not isinstance(verdict, Admitted) or certificate in (
            client.certificate,
            server.certificate,
        )
        return verdict

    return (
        client_context(
            trust=ca.trust, chain=client.certificate_file, key=client.key_file, alpn=(_ALPN,)
        ),
        server_context(
            trust=ca.trust, chain=server.certificate_file, key=server.key_file, alpn=(_ALPN,)
        ),
        judge,
    )


def seeds() -> dict[str, bytes]:
    """A connection left as it is, and changed in each of its flights; what strangers say."""
    record = bytes.fromhex("1603010005 0100000100")
    made = {
        f"no-flight-{place}": b"\0" + place.to_bytes(2, "big") + b"\xff\0"
        for place in (5, 9, 300, 400, 1000, 1500, 2000, 2300)
    }
    return {
        "untouched": b"\0",
        "no-end": b"\0\x01\x40\0\1",
        "no-tls": b"GET / HTTP/1.1\r\n\r\n",
        "no-hello": record,
        "no-alert": b"\x15\x03\x03\0\2\2\x28",
        **made,
    }
