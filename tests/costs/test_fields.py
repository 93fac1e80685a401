"""What is read off a handshake message, whoever sent it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.costs.fields import SIGNED_WITH, fields_of
from asynctls.testing import CA
from asynctls.tls import Part
from asynctls.tls.messages import TLSMessage

if TYPE_CHECKING:
    from pathlib import Path


def certificate_message(*chain: bytes) -> TLSMessage:
    listed = b"".join(len(each).to_bytes(3) + each for each in chain)
    body = len(listed).to_bytes(3) + listed
    return TLSMessage("Certificate", Part.CERTIFICATES, len(body), 1, encrypted=False, body=body)


def test_a_chain_is_told_by_its_names(tmp_path: Path) -> None:
    leaf = CA(tmp_path).identity("client").certificate
    fields = fields_of(certificate_message(leaf, leaf))
    assert fields["certificates"] == "2"
    assert fields["chain"] == "client, issued by client"
    assert fields[SIGNED_WITH] == "ECDSA, ECDSA"


def test_a_certificate_whose_names_cannot_be_read_is_told_of_all_the_same(tmp_path: Path) -> None:
    leaf = CA(tmp_path).identity("client").certificate
    # Its alternative name and its common name, neither of them UTF-8.
    odd = leaf.replace(b"\x82\x06client", b"\x82\x06clien\xff")
    odd = odd.replace(b"\x0c\x06client", b"\x0c\x06clien\xff")
    fields = fields_of(certificate_message(leaf, odd))
    assert fields["chain"] == "client, issued by a name that cannot be read"
