"""Backups of a TTP (`ttp.archive`): a whole one, or a `StateError`."""

from __future__ import annotations

import gzip
from datetime import datetime
from typing import TYPE_CHECKING, Final

from asynctls.errors import StateError
from asynctls.ttp.archive import Archive, Manifest, is_encrypted, pack
from tests.fuzz.world import NOW

if TYPE_CHECKING:
    from asynctls.ttp.chain import Value

_MOST_BYTES: Final = 1 << 16


def run(data: bytes) -> bool:
    """A file, and what is compressed in one."""
    if len(data) > _MOST_BYTES:
        return False
    return any([_taken(content) for content in (data, gzip.compress(data, 1, mtime=0))])


def _taken(content: bytes) -> bool:
    if is_encrypted(content):
        return False
    try:
        archive = Archive(content)
        rows = [row for part in archive.rows() for row in part]
    except StateError as error:
        assert "\n" not in str(error)
        return False
    assert all("/" not in name and not name.startswith(".") for name in archive.files)
    assert isinstance(archive.manifest.made_at, datetime)
    again = Archive(pack(archive.manifest, archive.files, rows))
    assert again.files == archive.files
    assert [row for part in again.rows() for row in part] == rows
    return True


def seeds() -> dict[str, bytes]:
    """One with files and rows, whole and as a tar; one that is damaged; what is none."""
    manifest = Manifest(made_at=NOW, head="1:" + "ab" * 32, root_sha256="cd" * 32)
    row: dict[str, Value] = {
        "sequence": 1,
        "previous": bytes(32),
        "mac": bytes(32),
        "kind": "token-made",
    }
    files = {"root.pem": b"-----BEGIN", "ledger.key": bytes(32)}
    whole = pack(manifest, files, [row])
    tar = gzip.decompress(whole)
    return {
        "whole": whole,
        "tar": tar,
        "no-manifest": tar[512:],
        "no-header": tar[:1024] + b"S" + tar[1025:],
        "no-end": whole[:-9],
        "no-gzip": b"\x1f\x8b\x08\0",
    }
