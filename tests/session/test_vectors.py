"""The published protocol and its vectors are what the code does.

Run me as a script to write docs/session-protocol-vectors.json anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asynctls import mac
from asynctls.errors import (
    BindingMismatchError,
    ForgedError,
    MalformedError,
    MessageTooLargeError,
    MissingError,
    ReplayedError,
    SessionError,
    SessionTruncatedError,
)
from asynctls.mac import Secret
from asynctls.session.keys import Keys, binding, derive
from asynctls.session.opener import Opener
from asynctls.session.protocol import Protocol
from asynctls.session.sealer import Sealer
from asynctls.session.shape import external_aad
from asynctls.session.states import TABLE, FrameType, Role, State, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs"
VECTORS = DOCS / "session-protocol-vectors.json"
OTP = b"The OTP for transferring Rs 1,00,000 to your friend's account is 256345."

SECRET = bytes(range(32))
CLIENT_CERTIFICATE = b"stands for the client's certificate in DER"
SERVER_CERTIFICATE = b"stands for the server's certificate in DER"
TLS_UNIQUE = bytes.fromhex("000102030405060708090a0b")
BINDING = binding(
    client_certificate=CLIENT_CERTIFICATE,
    server_certificate=SERVER_CERTIFICATE,
    tls_unique=TLS_UNIQUE,
)
KEYS: Keys = derive(Secret(SECRET), BINDING)

ERRORS: dict[str, type[SessionError]] = {
    "malformed": MalformedError,
    "forged": ForgedError,
    "replayed": ReplayedError,
    "missing": MissingError,
    "too large": MessageTooLargeError,
    "truncated": SessionTruncatedError,
    "binding mismatch": BindingMismatchError,
}

JSON = dict[str, object]


def schedule() -> JSON:
    return {
        "secret": SECRET.hex(),
        "client_certificate": CLIENT_CERTIFICATE.hex(),
        "server_certificate": SERVER_CERTIFICATE.hex(),
        "tls_unique": TLS_UNIQUE.hex(),
        "binding": BINDING.hex(),
        "prk": mac.extract(bytes(32), SECRET).hex(),
        "k_client": KEYS.client.reveal().hex(),
        "k_server": KEYS.server.reveal().hex(),
    }


def frame_vector(
    name: str, sender: Role, sequence: int, payload: bytes, frame: bytes, **flags: bool
) -> JSON:
    payload_head = frame[23 : len(frame) - 34 - len(payload)]
    content = b"\x84\x64MAC0" + frame[2:22] + external_aad(sender) + payload_head + payload
    return {
        "name": name,
        "sender": sender.value,
        "type": frame[12],
        "more": flags.get("more", False),
        "receipt_wanted": flags.get("receipt_wanted", False),
        "sequence": sequence,
        "payload": payload.hex(),
        "mac_structure": content.hex(),
        "tag": frame[-32:].hex(),
        "frame": frame.hex(),
    }


def frames() -> Iterator[JSON]:
    client, server = Role.CLIENT, Role.SERVER
    most = (16 * 1024 * 1024).to_bytes(4, "big")
    seal = Sealer(client, KEYS.client)
    yield frame_vector(
        "KEY",
        client,
        0,
        SECRET + most,
        seal.key(Secret(SECRET), max_message_bytes=16 * 1024 * 1024),
    )
    yield frame_vector("a message", client, 1, b"hello", seal.data(b"hello"))
    yield frame_vector("a message of no bytes", client, 2, b"", seal.data(b""))
    yield frame_vector(
        "the receipt of the OTP message", client, 3, (1).to_bytes(8, "big"), seal.receipt(1)
    )
    yield frame_vector("CLOSE", client, 4, b"", seal.close())
    yield frame_vector(
        "ERROR",
        client,
        5,
        b"\x00\x08the server's certificate was revoked",
        seal.error(8, "the server's certificate was revoked"),
    )
    seal = Sealer(server, KEYS.server)
    yield frame_vector("READY", server, 0, most, seal.ready(max_message_bytes=16 * 1024 * 1024))
    yield frame_vector(
        "the OTP message",
        server,
        1,
        OTP,
        seal.data(OTP, receipt_wanted=True),
        receipt_wanted=True,
    )
    yield frame_vector(
        "the first piece of a message",
        server,
        2,
        b"one piece, ",
        seal.data(b"one piece, ", more=True),
        more=True,
    )
    yield frame_vector("GOAWAY", server, 3, b"", seal.goaway())
    yield frame_vector("its last piece", server, 4, b"and another", seal.data(b"and another"))
    long = bytes(range(256))
    yield frame_vector("a length in two bytes", server, 5, long, seal.data(long))
    yield frame_vector("CLOSE", server, 6, b"", seal.close())
    last = 2**64 - 1
    seal = Sealer(server, KEYS.server, sequence=last)
    yield frame_vector("the last sequence number", server, last, b"", seal.close())


def forge(frame: bytes, at: int, change: bytes) -> bytes:
    return frame[:at] + change + frame[at + len(change) :]


def tagged(start: bytes, payload_head: bytes, payload: bytes) -> bytes:
    """A client's frame with a right tag over whatever it is."""
    content = b"\x84\x64MAC0" + start[2:22] + external_aad(Role.CLIENT) + payload_head + payload
    tag = mac.tag(KEYS.client.reveal(), content)
    return start + payload_head + payload + b"\x58\x20" + tag


def rejected() -> Iterator[JSON]:
    def one(name: str, error: str, frame: bytes, *, due: int = 1, key: bool = True) -> JSON:
        code = ERRORS[error].code
        return {
            "name": name,
            "sender": "client",
            "sequence_due": due,
            "key_known": key,
            "stream": frame.hex(),
            "error": error,
            "error_code": None if code is None else int(code),
        }

    def seal(sequence: int = 1) -> Sealer:
        return Sealer(Role.CLIENT, KEYS.client, sequence=sequence)

    hello = seal().data(b"hello")
    start = hello[:23]
    yield one("one bit of the payload changed", "forged", forge(hello, 24, b"i"))
    yield one("one bit of the tag changed", "forged", hello[:-1] + bytes((hello[-1] ^ 1,)))
    yield one("the sequence changed", "forged", forge(hello, 21, b"\x02"))
    yield one("RECEIPT WANTED set on the way", "forged", forge(hello, 13, b"\x02"))
    yield one(
        "sealed with the other direction's key",
        "forged",
        Sealer(Role.CLIENT, KEYS.server, sequence=1).data(b"hello"),
    )
    yield one(
        "a frame of the server sent back",
        "forged",
        Sealer(Role.SERVER, KEYS.server, sequence=1).data(b"hello"),
    )
    yield one("the same frame again", "replayed", hello, due=2)
    yield one("a frame left out", "missing", seal(2).data(b"hello"))
    yield one("the end comes within the frame", "truncated", hello[:-1])
    yield one("the end comes after the first byte", "truncated", hello[:1])
    big = start + b"\x5a" + (65537).to_bytes(4, "big")
    yield one("a payload of 65537 bytes is announced", "too large", big)
    yield one(
        "a payload of 2^32 bytes is announced",
        "too large",
        start + b"\x5b" + (2**32).to_bytes(8, "big"),
    )
    yield one("the length in a longer form", "malformed", tagged(start, b"\x58\x05", b"hello"))
    yield one("a payload of indefinite length", "malformed", start + b"\x5f\x45hello\xff")
    yield one("a text string for a payload", "malformed", tagged(start, b"\x65", b"hello"))
    yield one("type 0", "malformed", tagged(forge(start, 12, b"\x00"), b"\x45", b"hello"))
    yield one("type 8", "malformed", tagged(forge(start, 12, b"\x08"), b"\x45", b"hello"))
    yield one("an unknown flag", "malformed", tagged(forge(start, 13, b"\x04"), b"\x45", b"hello"))
    yield one(
        "MORE and RECEIPT WANTED", "malformed", tagged(forge(start, 13, b"\x03"), b"\x45", b"hello")
    )
    yield one(
        "MORE on a piece of no bytes", "malformed", tagged(forge(start, 13, b"\x01"), b"\x40", b"")
    )
    yield one("a flag on CLOSE", "malformed", tagged(forge(start, 12, b"\x05\x01"), b"\x40", b""))
    yield one("CLOSE with a payload", "malformed", tagged(forge(start, 12, b"\x05"), b"\x41", b"x"))
    yield one(
        "RECEIPT of 7 bytes", "malformed", tagged(forge(start, 12, b"\x04"), b"\x47", bytes(7))
    )
    yield one("an unprotected header", "malformed", hello[:22] + b"\xa1\x04\x40" + hello[23:])
    yield one("no COSE tag", "malformed", hello[1:])
    yield one("the COSE tag in two bytes", "malformed", b"\xd8\x11" + hello[1:])
    yield one("another algorithm", "malformed", forge(hello, 5, b"\x06"))
    yield one(
        "an ERROR whose text is not UTF-8",
        "malformed",
        tagged(forge(start, 12, b"\x06"), b"\x43", b"\x00\x01\xff"),
    )
    key_frame = Sealer(Role.CLIENT, KEYS.client).key(Secret(SECRET), max_message_bytes=0)
    other = derive(Secret(SECRET), mac.sha256(b"another connection"))
    yield one(
        "KEY under another binding",
        "binding mismatch",
        Sealer(Role.CLIENT, other.client).key(Secret(SECRET), max_message_bytes=0),
        due=0,
        key=False,
    )
    yield one(
        "another frame where KEY is due", "malformed", seal(0).data(b"hello"), due=0, key=False
    )
    yield one("KEY with sequence 1", "malformed", forge(key_frame, 21, b"\x01"), due=0, key=False)


def vectors() -> JSON:
    return {
        "protocol": "asynctls/1",
        "about": "All bytes are in hexadecimal. docs/session-protocol.md says how to use this.",
        "key_schedule": schedule(),
        "frames": list(frames()),
        "rejected": list(rejected()),
    }


def written() -> str:
    return json.dumps(vectors(), indent=2) + "\n"


def state_table() -> str:
    """TABLE as the protocol's text draws it."""
    lines = ["| sender | state | " + " | ".join(step.value for step in Step) + " |"]
    lines.append("|---" * (2 + len(Step)) + "|")
    for sender, states in TABLE.items():
        for state, steps in states.items():
            cells = [steps[step].value if step in steps else "-" for step in Step]
            lines.append(f"| {sender.value} | {state.value} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def take_all(opener: Opener) -> None:
    while opener.next_frame() is not None:
        pass
    opener.receive_eof()


def test_the_published_vectors_are_what_the_code_makes() -> None:
    assert VECTORS.read_text() == written(), f"write them anew: python {Path(__file__).name}"


def test_the_published_state_table_is_the_code_s() -> None:
    assert state_table() in (DOCS / "session-protocol.md").read_text()


def test_the_vectors_have_every_frame_type_and_every_error() -> None:
    assert {vector["type"] for vector in frames()} == set(FrameType)
    assert {vector["error"] for vector in rejected()} == set(ERRORS)


@pytest.mark.parametrize("vector", list(rejected()), ids=lambda vector: str(vector["name"]))
def test_each_rejected_stream_gets_the_published_error(vector: JSON) -> None:
    due = vector["sequence_due"]
    assert isinstance(due, int)
    opener = Opener(
        Role.CLIENT,
        KEYS.client if vector["key_known"] else lambda secret: derive(secret, BINDING).client,
        sequence=due,
    )
    opener.receive_data(bytes.fromhex(str(vector["stream"])))
    with pytest.raises(SessionError) as caught:
        take_all(opener)
    assert type(caught.value) is ERRORS[str(vector["error"])]
    assert caught.value.code == vector["error_code"]


def test_the_published_streams_make_a_whole_session() -> None:
    accepted = [vector for vector in frames() if vector["name"] != "ERROR"]
    server = Protocol(Role.SERVER, BINDING, max_message_bytes=1 << 24)
    for vector in accepted:
        if vector["sender"] == "client" and vector["type"] != FrameType.RECEIPT:
            server.receive_data(bytes.fromhex(str(vector["frame"])))
            if vector["sequence"] == 2:
                break
    events = list(iter(server.next_event, None))
    assert [type(event).__name__ for event in events] == ["Opened", "Data", "Data"]
    [(kind, ready)] = server.frames_to_send()
    assert kind == FrameType.READY
    assert ready.hex() == next(v["frame"] for v in accepted if v["name"] == "READY")
    *_, sequence = server.send_message(OTP, receipt_wanted=True)
    [(_, otp)] = server.frames_to_send()
    assert sequence == 1
    assert otp.hex() == next(v["frame"] for v in accepted if v["name"] == "the OTP message")
    assert server.sending is State.OPEN


if __name__ == "__main__":
    VECTORS.write_text(written())
