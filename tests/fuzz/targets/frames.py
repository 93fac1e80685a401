"""Session frames (`session.opener`): one verdict however they are cut, and one encoding."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

import cbor2

from asynctls.errors import SessionError
from asynctls.mac import Secret
from asynctls.session.frames import Close, Data, Error, Frame, GoAway, Key, Ready, Receipt
from asynctls.session.opener import Opener
from asynctls.session.sealer import Sealer
from asynctls.session.shape import TAG_HEAD, read_head
from asynctls.session.states import Role
from tests.fuzz.pieces import cut

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEY: Final = Secret(b"k" * 32)
_CUTS: Final = 4
# Behind the tag, the array and the head of the byte string.
_PROTECTED: Final = slice(3, 22)


def run(data: bytes) -> bool:
    """Four bytes that say how it is cut, and a frame up to its tag, which is made here."""
    how, stream = data[:_CUTS], data[_CUTS:]
    frames, _ = _opened(cut(stream, how))
    assert not frames, "a frame that nobody sealed was taken"
    try:
        head = read_head(stream)
    except SessionError:
        return False
    if head is None:
        return False
    _, sequence, payload_at, length = head
    stream = stream[: payload_at + length].ljust(payload_at + length, b"\0")
    payload = stream[payload_at:]
    covered = cbor2.dumps(["MAC0", stream[_PROTECTED], b"asynctls/1 client", payload])
    frame = stream + TAG_HEAD + hmac.digest(_KEY.reveal(), covered, "sha256")
    frames, fault = _opened([frame], sequence)
    assert (frames, fault) == _opened(cut(frame, how), sequence), "cutting it up changed a verdict"
    if not frames:
        # An ERROR's text need not be UTF-8.
        assert "UTF-8" in fault, fault
        return False
    structure = cbor2.loads(frame)
    assert structure.tag == 17
    assert structure.value[1:3] == [{}, payload]
    assert _sealed(frames[0], sequence) in (frame, None), "one frame has two encodings"
    return True


def _opened(pieces: Iterable[bytes], sequence: int = 0) -> tuple[list[Frame], str]:
    opener = Opener(Role.CLIENT, _KEY, sequence=sequence)
    frames: list[Frame] = []
    try:
        for piece in pieces:
            opener.receive_data(piece)
            frames += iter(opener.next_frame, None)
        opener.receive_eof()
    except SessionError as error:
        return frames, str(error)
    return frames, ""


def _sealed(frame: Frame, sequence: int) -> bytes | None:
    sealer = Sealer(Role.CLIENT, _KEY, sequence=sequence)
    match frame:
        case Key(secret=secret, max_message_bytes=most):
            return sealer.key(secret, max_message_bytes=most)
        case Ready(max_message_bytes=most):
            return sealer.ready(max_message_bytes=most)
        case Data(payload=payload, more=more, receipt_wanted=wanted):
            return sealer.data(payload, more=more, receipt_wanted=wanted)
        case Receipt(message_sequence=message):
            return sealer.receipt(message)
        case Close():
            return sealer.close()
        case GoAway():
            return sealer.goaway()
        case Error(code=code, text=text):
            # What no terminal should get was replaced when it was read.
            return None if "\N{REPLACEMENT CHARACTER}" in text else sealer.error(code, text)


def seeds() -> dict[str, bytes]:
    """One frame of each kind, whole ones and such as nobody makes."""
    sealer = Sealer(Role.CLIENT, _KEY)
    made = {
        "key": sealer.key(_KEY, max_message_bytes=1 << 20),
        "ready": sealer.ready(max_message_bytes=1 << 20),
        "data": sealer.data(b"a message", receipt_wanted=True),
        "piece": sealer.data(bytes(300), more=True),
        "empty": sealer.data(b""),
        "receipt": sealer.receipt(3),
        "close": sealer.close(),
        "error": sealer.error(10, "it failed"),
        "goaway": sealer.goaway(),
    }
    made = {name: frame[: -len(TAG_HEAD) - 32] for name, frame in made.items()}
    data = made["data"]
    made |= {
        "no-type": data[:12] + b"\x09" + data[13:],
        "no-flags": data[:13] + b"\x07" + data[14:],
        "no-map": data[:22] + b"\xa1" + data[23:],
        "no-short-form": data[:23] + b"\x58\x09" + data[24:],
        "no-end": data[:23] + b"\x5f" + data[24:],
        "no-sane-length": data[:23] + b"\x5b" + b"\xff" * 8,
    }
    return {name: b"\x01\x07\x00\x20" + stream for name, stream in made.items()}
