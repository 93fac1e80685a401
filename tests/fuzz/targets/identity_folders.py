"""An identity's folder after a crash (`enrolment.folder`, `joining_key`): whole, or a sentence."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import msgspec

from asynctls.config import Address
from asynctls.enrolment import Identity
from asynctls.enrolment.joining_key import read_joining_key
from asynctls.enrolment.texts import CERTIFICATE, KEY, ORIGIN, TRUST, Joined
from asynctls.errors import IdentityError, StateError
from asynctls.pki.certificates import fingerprint
from asynctls.pki.keys import key_to_pem
from tests.fuzz.scratch import scratch_folder
from tests.fuzz.world import HOLDER_KEY, ISSUING, ROOT, leaf

if TYPE_CHECKING:
    from pathlib import Path

# The root is another one in each process, and what names it is to be taken all the same.
_ROOT_HERE: Final = b"ROOT-SHA256"
_JOURNAL: Final = "joined.json"
_TOKEN: Final = "joining.json"


def run(data: bytes) -> bool:
    """The content of identity.json, of joined.json, and of joining.json."""
    folder = _folder()
    data = data.replace(_ROOT_HERE, fingerprint(ROOT.certificate).hex().encode())
    taken = [_taken(folder / name, data) for name in (ORIGIN, _JOURNAL)]
    token = folder / _TOKEN
    token.write_bytes(data)
    token.chmod(0o600)
    try:
        read_joining_key(folder, "a token's id")
    finally:
        token.unlink()
    return any(taken)


def _taken(path: Path, data: bytes) -> bool:
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(data)
    path.chmod(0o600)
    try:
        return Identity.find(path.parent) is not None
    except (IdentityError, StateError) as error:
        assert str(error)
        return False
    finally:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(before)


def _joined() -> Joined:
    return Joined.of(
        leaf("server"),
        issuing=(ISSUING.certificate,),
        root=ROOT.certificate,
        crl="",
        ttp=Address("127.0.0.1", 8440),
    )


@cache
def _folder() -> Path:
    folder = scratch_folder("identity")
    joined = _joined()
    for name, content in (
        (KEY, key_to_pem(HOLDER_KEY)),
        ("joining-key.pem", key_to_pem(HOLDER_KEY)),
        (CERTIFICATE, joined.certificate.encode()),
        (TRUST, joined.trust.encode()),
        (ORIGIN, msgspec.json.encode(joined.origin)),
    ):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    return folder


def seeds() -> dict[str, bytes]:
    """The files as they are, and as a disk may give them back."""
    joined = _joined()
    return {
        "origin": b'{"ttp":"127.0.0.1:8440","root_sha256":"ROOT-SHA256","name":"server"}',
        "no-text": b'{"ttp":"\xff"}',
        "no-surrogate": b'{"certificate":"\\ud800","trust":"","crl":"","origin":{"ttp":"",'
        b'"root_sha256":"","name":""}}',
        "no-pin": msgspec.json.encode(joined.origin).replace(
            b'"root_sha256":"', b'"root_sha256":"z'
        ),
        "no-end": msgspec.json.encode(joined)[:-1],
        "no-depth": b"[" * 3000,
        "no-zeros": bytes(64),
    }
