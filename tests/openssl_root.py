"""A root that is not here: openssl, by the commands of docs/guide/root-and-issuing-ca.md."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["make_root", "sign_crl", "sign_issuing"]

_CONFIG = """\
[ca]
default_ca = root
[root]
database = index.txt
crlnumber = crlnumber
default_md = sha384
default_crl_days = 180
crl_extensions = crl
[crl]
authorityKeyIdentifier = keyid
[root_certificate]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[issuing]
authorityKeyIdentifier = keyid
"""


def _run(openssl: Path, folder: Path, *words: str | Path) -> None:
    command = [openssl, *words]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=30)


def _config(folder: Path) -> None:
    (folder / "root.cnf").write_text(_CONFIG)


def make_root(openssl: Path, folder: Path) -> tuple[Path, Path]:
    """A root of somebody else's: its certificate and its key."""
    _config(folder)
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", "root.key")
    made = ("-x509", "-days", "3650", "-subj", "/CN=Example Root", "-out", "root.pem")
    config = ("-config", "root.cnf", "-extensions", "root_certificate")
    _run(openssl, folder, "req", *new, *made, *config)
    return folder / "root.pem", folder / "root.key"


def sign_issuing(openssl: Path, folder: Path, request: Path, root: Path, key: Path) -> Path:
    """What the root makes of an issuing CA's request."""
    _config(folder)
    by = ("-CA", root, "-CAkey", key, "-sha384", "-days", "730")
    copied = ("-copy_extensions", "copyall", "-extfile", "root.cnf", "-extensions", "issuing")
    signed = folder / "issuing-signed.pem"
    _run(openssl, folder, "x509", "-req", "-in", request, *by, *copied, "-out", signed)
    return signed


def sign_crl(openssl: Path, folder: Path, root: Path, key: Path, *, number: str) -> Path:
    """The root's CRL, its number in hex."""
    _config(folder)
    (folder / "index.txt").touch()
    (folder / "crlnumber").write_text(f"{number}\n")
    crl = folder / "root-crl.pem"
    by = ("-cert", root, "-keyfile", key, "-out", crl)
    _run(openssl, folder, "ca", "-config", "root.cnf", "-gencrl", *by)
    return crl
