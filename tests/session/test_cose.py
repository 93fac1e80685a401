"""Our frames beside two COSE libraries that nobody here wrote (RFC 9052).

They must read and verify ours, we theirs; and what they also take and asynctls/1 does not
(longer integer forms, another map order, …) we must refuse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import cbor2
import cwt
import pytest
from pycose.algorithms import HMAC256
from pycose.headers import Algorithm
from pycose.keys.symmetric import SymmetricKey
from pycose.messages.mac0message import Mac0Message

from asynctls import mac
from asynctls.errors import MalformedError
from asynctls.mac import Secret
from asynctls.session.opener import Opener
from asynctls.session.sealer import Sealer
from asynctls.session.states import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.session.frames import Frame

KEY = bytes(range(32))
PARAMETER = -65537

SEAL: dict[str, Callable[[Sealer], bytes]] = {
    "KEY": lambda sealer: sealer.key(Secret(b"s" * 32), max_message_bytes=1 << 24),
    "READY": lambda sealer: sealer.ready(max_message_bytes=1 << 24),
    "DATA": lambda sealer: sealer.data(b"a message"),
    "DATA of no bytes": lambda sealer: sealer.data(b""),
    "DATA of 65536 bytes": lambda sealer: sealer.data(bytes(65536)),
    "DATA with MORE": lambda sealer: sealer.data(bytes(300), more=True),
    "DATA with RECEIPT WANTED": lambda sealer: sealer.data(bytes(30), receipt_wanted=True),
    "RECEIPT": lambda sealer: sealer.receipt(1 << 40),
    "CLOSE": lambda sealer: sealer.close(),
    "ERROR": lambda sealer: sealer.error(7, "certificate expired"),
    "GOAWAY": lambda sealer: sealer.goaway(),
}

every_frame = pytest.mark.parametrize("seal", SEAL.values(), ids=SEAL)
either_way = pytest.mark.parametrize("sender", Role)


def sealed(seal: Callable[[Sealer], bytes], sender: Role) -> bytes:
    return seal(Sealer(sender, Secret(KEY), sequence=258))


def opened(frame: bytes, sender: Role) -> Frame | None:
    opener = Opener(sender, Secret(KEY), sequence=258)
    opener.receive_data(frame)
    return opener.next_frame()


def label(sender: Role) -> bytes:
    return b"asynctls/1 " + sender.value.encode()


def parts(frame: bytes) -> tuple[bytes, bytes]:
    """Our parameter (type, flags, sequence) and the payload, by an independent decoder."""
    tagged = cast("cbor2.CBORTag", cbor2.loads(frame))
    protected, _, payload, _ = tagged.value
    return cast("bytes", cbor2.loads(protected)[PARAMETER]), cast("bytes", payload)


def verified_by_cwt(frame: bytes, sender: Role) -> bytes:
    key = cwt.COSEKey.from_symmetric_key(KEY, alg="HS256")
    return cast("bytes", cwt.COSE.new().decode(frame, key, external_aad=label(sender)))


def verified_by_pycose(frame: bytes, sender: Role) -> bytes:
    message = Mac0Message.decode(frame)
    message.key = SymmetricKey(KEY)
    setattr(message, "external_aad", label(sender))  # noqa: B010 - its type stub forgets the setter
    assert message.verify_tag()
    return cast("bytes", message.payload)


@every_frame
@either_way
def test_both_libraries_verify_every_frame_of_ours(
    seal: Callable[[Sealer], bytes], sender: Role
) -> None:
    frame = sealed(seal, sender)
    _, payload = parts(frame)
    assert verified_by_cwt(frame, sender) == payload
    assert verified_by_pycose(frame, sender) == payload


@every_frame
def test_neither_library_takes_a_frame_of_ours_for_the_other_direction(
    seal: Callable[[Sealer], bytes],
) -> None:
    frame = sealed(seal, Role.CLIENT)
    with pytest.raises(cwt.VerifyError):
        verified_by_cwt(frame, Role.SERVER)
    with pytest.raises(AssertionError):
        verified_by_pycose(frame, Role.SERVER)


@every_frame
@either_way
def test_a_frame_that_cwt_makes_is_ours_byte_for_byte(
    seal: Callable[[Sealer], bytes], sender: Role
) -> None:
    frame = sealed(seal, sender)
    parameter, payload = parts(frame)
    key = cwt.COSEKey.from_symmetric_key(KEY, alg="HS256")
    theirs = cwt.COSE.new().encode(
        payload,
        key,
        protected={1: 5, PARAMETER: parameter},
        external_aad=label(sender),
    )
    assert theirs == frame
    assert opened(theirs, sender) == opened(frame, sender)


@every_frame
@either_way
def test_a_frame_that_pycose_makes_is_ours_byte_for_byte(
    seal: Callable[[Sealer], bytes], sender: Role
) -> None:
    frame = sealed(seal, sender)
    parameter, payload = parts(frame)
    message = Mac0Message(
        phdr={Algorithm: HMAC256, PARAMETER: parameter},
        payload=payload,
        external_aad=label(sender),
        key=SymmetricKey(KEY),
    )
    theirs = message.encode()
    assert theirs == frame
    assert opened(theirs, sender) == opened(frame, sender)


# What a general COSE library takes, and we do not. Every tag below is right for its bytes.

PARAMETER_HEAD = bytes.fromhex("3a00010000")
NUMBERS = bytes.fromhex("03000000000000000102")
ALG = b"\x01\x05"
OURS = b"\xa2" + ALG + PARAMETER_HEAD + b"\x4a" + NUMBERS


def byte_string(content: bytes) -> bytes:
    return cbor2.dumps(content)


def with_right_tag(
    protected: bytes = OURS,
    *,
    start: bytes = b"\xd1\x84",
    protected_head: bytes | None = None,
    unprotected: bytes = b"\xa0",
    payload: bytes = b"\x42hi",
    tag_head: bytes = b"\x58\x20",
    end: bytes = b"",
) -> bytes:
    structure = ["MAC0", protected, label(Role.CLIENT), b"hi"]
    tag = mac.tag(KEY, cbor2.dumps(structure))
    head = byte_string(protected)[: -len(protected)] if protected_head is None else protected_head
    return start + head + protected + unprotected + payload + tag_head + tag + end


LOOSE = {
    "map in the other order": with_right_tag(b"\xa2" + PARAMETER_HEAD + b"\x4a" + NUMBERS + ALG),
    "label 1 in two bytes": with_right_tag(b"\xa2\x18\x01\x05" + OURS[3:]),
    "alg 5 in two bytes": with_right_tag(b"\xa2\x01\x18\x05" + OURS[3:]),
    "label -65537 in nine bytes": with_right_tag(
        b"\xa2" + ALG + b"\x3b\x00\x00\x00\x00\x00\x01\x00\x00\x4a" + NUMBERS
    ),
    "parameter's length in two bytes": with_right_tag(
        b"\xa2" + ALG + PARAMETER_HEAD + b"\x58\x0a" + NUMBERS
    ),
    "map's size in two bytes": with_right_tag(b"\xb8\x02" + OURS[1:]),
    "map of indefinite length": with_right_tag(b"\xbf" + OURS[1:] + b"\xff"),
    "one header more": with_right_tag(b"\xa3" + OURS[1:] + b"\x18\x63\x00"),
    "a header unprotected": with_right_tag(unprotected=b"\xa1\x18\x63\x00"),
    "unprotected of indefinite length": with_right_tag(unprotected=b"\xbf\xff"),
    "unprotected's size in two bytes": with_right_tag(unprotected=b"\xb8\x00"),
    "protected's length in three bytes": with_right_tag(protected_head=b"\x59\x00\x13"),
    "payload's length in two bytes": with_right_tag(payload=b"\x58\x02hi"),
    "payload's length in three bytes": with_right_tag(payload=b"\x59\x00\x02hi"),
    "payload in chunks": with_right_tag(payload=b"\x5f\x41h\x41i\xff"),
    "tag's length in three bytes": with_right_tag(tag_head=b"\x59\x00\x20"),
    "COSE tag 17 in two bytes": with_right_tag(start=b"\xd8\x11\x84"),
    "array's size in two bytes": with_right_tag(start=b"\xd1\x98\x04"),
    "array of indefinite length": with_right_tag(start=b"\xd1\x9f", end=b"\xff"),
    "no COSE tag": with_right_tag(start=b"\x84"),
    "self-described CBOR before it": with_right_tag(start=b"\xd9\xd9\xf7\xd1\x84"),
}


def test_the_loose_frames_differ_from_ours_in_their_form_alone() -> None:
    frame = with_right_tag()
    assert frame == Sealer(Role.CLIENT, Secret(KEY), sequence=258).data(b"hi")
    assert opened(frame, Role.CLIENT) is not None


@pytest.mark.parametrize("frame", LOOSE.values(), ids=LOOSE)
def test_what_another_library_may_take_in_another_form_is_malformed(frame: bytes) -> None:
    with pytest.raises(MalformedError):
        opened(frame, Role.CLIENT)


@pytest.mark.parametrize(
    "form",
    [
        "map in the other order",
        "label 1 in two bytes",
        "a header unprotected",
        "payload's length in three bytes",
        "payload in chunks",
        "tag's length in three bytes",
        "array's size in two bytes",
    ],
)
def test_the_loose_frames_are_real_cose_that_a_general_library_takes(form: str) -> None:
    assert verified_by_cwt(LOOSE[form], Role.CLIENT) == b"hi"
