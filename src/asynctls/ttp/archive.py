"""What a backup is as bytes: a gzipped tar that any tool can look into, encrypted by age if wanted.

Inside: ``asynctls-backup.json`` (a :class:`Manifest`), ``state/…`` (the files of the state folder)
and ``entries/…`` (the ledger's rows in order, one JSON object a line, bytes as Base64). No row is
left out or changed, so the ledger's chain of MACs vouches for a backup as it does for the ledger.

Pure: bytes in, values out. A whole backup is held in memory, compressed; its rows, expanded, only a
part at a time.
"""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from contextlib import contextmanager
from datetime import datetime  # noqa: TC003 - msgspec reads it
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec
import sqlalchemy as sa

from asynctls.errors import StateError
from asynctls.ttp.schema import REVISION, entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from asynctls.config import SecretText
    from asynctls.ttp.chain import Value

__all__ = ["Archive", "Manifest", "decrypt", "encrypt", "is_encrypted", "pack"]

_FORMAT: Final = 1
_MANIFEST: Final = "asynctls-backup.json"
_STATE: Final = "state/"
_ENTRIES: Final = "entries/"
_ROWS_A_PART: Final = 2048
_BLOCK_BYTES: Final = 1 << 16
_AGE: Final = b"age-encryption.org/v1\n"
# A name that is no way out of a folder, and no file that somebody is writing.
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_COLUMNS: Final = {
    str(column.name): {sa.LargeBinary: bytes, sa.Text: str}.get(type(column.type), int)
    for column in entries.columns
}
_Row = msgspec.defstruct(
    "_Row",
    [(name, kind | None, None) for name, kind in _COLUMNS.items()],
    omit_defaults=True,
    forbid_unknown_fields=True,
)
_rows = msgspec.json.Decoder(_Row)
_json = msgspec.json.Encoder()


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself.

    Attributes:
        format: of the archive; 1.
        schema: the ledger's schema, as Alembic names it.
        made_at: when.
        head: the ledger's last link in it, ``SEQUENCE:MAC``.
        root_sha256: the root certificate's fingerprint, hex: whose backup it is.
    """

    format: int = _FORMAT
    schema: str = REVISION
    made_at: datetime
    head: str
    root_sha256: str


class Archive:
    """A backup that was read, as far as its rows, which are read when they are wanted.

    Attributes:
        manifest: what it says of itself.
        files: the state folder's files by name.
    """

    def __init__(self, content: bytes) -> None:
        """Reads manifest and files.

        Raises:
            StateError: it is no backup, a damaged one, or one of a newer program.
        """
        self._content = content
        with _opened(content) as tar:
            first = tar.next()
            if first is None or first.name != _MANIFEST:
                raise StateError("it is no backup that 'asynctls ttp backup' made")
            self.manifest = msgspec.json.decode(_content_of(tar, first), type=Manifest)
            if self.manifest.format != _FORMAT or self.manifest.schema > REVISION:
                raise StateError(
                    f"the backup was made by a newer asynctls (format {self.manifest.format}, "
                    f"schema {self.manifest.schema}): restore it with that one"
                )
            self.files: dict[str, bytes] = {}
            for member in tar:
                if member.name.startswith(_STATE):
                    name = member.name.removeprefix(_STATE)
                    if not _PLAIN_NAME.fullmatch(name):
                        raise StateError(f"the backup holds a file of a strange name, {name!r}")
                    self.files[name] = _content_of(tar, member)
            _check_end(tar)

    def rows(self) -> Iterator[list[dict[str, Value]]]:
        """The ledger's rows, some at a time, in order.

        Raises:
            StateError: the backup is damaged.
        """
        with _opened(self._content) as tar:
            for member in tar:
                if member.name.startswith(_ENTRIES):
                    lines = _content_of(tar, member).splitlines()
                    yield [msgspec.structs.asdict(_rows.decode(line)) for line in lines]


def pack(
    manifest: Manifest, files: Mapping[str, bytes], rows: Iterable[Mapping[str, Value]]
) -> bytes:
    """The bytes of a backup, not encrypted."""
    packed = io.BytesIO()
    moment = int(manifest.made_at.timestamp())

    with tarfile.open(fileobj=packed, mode="w:gz") as tar:

        def add(name: str, content: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), 0o600, moment
            tar.addfile(member, io.BytesIO(content))

        add(_MANIFEST, _json.encode(manifest))
        for name, content in sorted(files.items()):
            add(f"{_STATE}{name}", content)
        remaining, number = iter(rows), 0
        while part := list(islice(remaining, _ROWS_A_PART)):
            number += 1
            add(f"{_ENTRIES}{number:08}.jsonl", b"".join(map(_line, part)))
    return packed.getvalue()


def is_encrypted(content: bytes) -> bool:
    """Whether these bytes are an age file."""
    return content.startswith(_AGE)


def encrypt(content: bytes, passphrase: SecretText) -> bytes:
    """The backup as an age file (age-encryption.org/v1, scrypt); takes about a second."""
    from pyrage import passphrase as age  # type: ignore[import-untyped]  # noqa: PLC0415

    encrypted: bytes = age.encrypt(content, passphrase.reveal())
    return encrypted


def decrypt(content: bytes, passphrase: SecretText) -> bytes:
    """What :func:`encrypt` was given.

    Raises:
        StateError: the passphrase is another, or the file is damaged.
    """
    import pyrage  # noqa: PLC0415 - as above: no daemon needs it

    try:
        decrypted: bytes = pyrage.passphrase.decrypt(content, passphrase.reveal())
    except pyrage.DecryptError as error:
        # One that would take minutes, which nobody has made here, is said so on two lines.
        words = " ".join(str(error).split())
        raise StateError(
            f"the backup cannot be decrypted ({words}): the passphrase is another, or the file is "
            "damaged"
        ) from error
    return decrypted


def _line(row: Mapping[str, Value]) -> bytes:
    return _json.encode({name: value for name, value in row.items() if value is not None}) + b"\n"


def _check_end(tar: tarfile.TarFile) -> None:
    """Refuses a tar that ends by anything but its end, two blocks of zeros or more (POSIX, pax).

    `tarfile` takes a header that is damaged, or not there, for the end. Reading on to the last byte
    also has gzip compare its checksum, as it does only there.
    """
    assert tar.fileobj is not None  # noqa: S101 - it is open
    tar.fileobj.seek(tar.offset)
    zeros = 0
    while block := tar.fileobj.read(_BLOCK_BYTES):
        if any(block):
            raise StateError("the backup is damaged: behind a file comes neither one nor the end")
        zeros += len(block)
    if zeros < 2 * tarfile.BLOCKSIZE:
        raise StateError("the backup is damaged: it was cut off")


def _content_of(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member) if member.isreg() else None
    if file is None:
        raise StateError(f"the backup holds something that is no file, {member.name!r}")
    return file.read()


@contextmanager
def _opened(content: bytes) -> Iterator[tarfile.TarFile]:
    """The tar, and our words for whatever is wrong with it while it is read."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
            yield tar
    except (
        tarfile.TarError,
        zlib.error,
        EOFError,
        OSError,
        msgspec.MsgspecError,
        UnicodeDecodeError,
        RecursionError,
    ) as error:
        raise StateError(f"it is no backup, or a damaged one ({error})") from error
