"""What is read off a handshake message, whoever sent it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.costs.fields import SIGNED_WITH, fields_of
from asynctls.pki.certificates import certificate_from_der, certificates_from_pem, to_der
from asynctls.pki.names import identity_name
from asynctls.testing import CA
from asynctls.tls import Part
from asynctls.tls.messages import TLSMessage

if TYPE_CHECKING:
    from pathlib import Path


def certificate_message(*chain: bytes) -> TLSMessage:
    listed = b"".join(len(each).to_bytes(3) + each for each in chain)
    body = len(listed).to_bytes(3) + listed
    return TLSMessage("Certificate", Part.CERTIFICATES, len(body), 1, encrypted=False, body=body)


def folder(tmp_path: Path, name: str) -> Path:
    made = tmp_path / name
    made.mkdir()
    return made


def authorities(ca: CA) -> list[bytes]:
    """Its certificates, DER: the root's, the issuing CA's."""
    return [to_der(each) for each in certificates_from_pem(ca.trust.encode())]


def name_of(certificate: bytes) -> str:
    return identity_name(certificate_from_der(certificate))


def test_a_chain_is_told_by_its_names(tmp_path: Path) -> None:
    ca = CA(tmp_path)
    leaf, (root, issuing) = ca.identity("client").certificate, authorities(ca)
    fields = fields_of(certificate_message(leaf, issuing))
    assert fields["certificates"] == "2"
    assert fields["chain"] == f"client, issued by {name_of(issuing)}"
    assert fields[SIGNED_WITH] == "ECDSA, ECDSA"
    assert "besides" not in fields
    # The root is trusted as it is, and its signature on itself is nothing to anybody.
    fields = fields_of(certificate_message(leaf, issuing, root))
    assert fields["chain"] == f"client, issued by {name_of(issuing)}, issued by {name_of(root)}"
    assert fields[SIGNED_WITH] == "ECDSA, ECDSA"


def test_what_a_server_shows_besides_its_chain_is_told_apart(tmp_path: Path) -> None:
    ours, others = (CA(folder(tmp_path, each)) for each in ("ours", "others"))
    leaf, (_, issuing) = ours.identity("server").certificate, authorities(ours)
    stray = authorities(others)[1]
    fields = fields_of(certificate_message(leaf, stray, issuing))
    assert fields["certificates"] == "3"
    assert fields["chain"] == f"server, issued by {name_of(issuing)}"
    assert fields["besides"] == name_of(stray)
    # What leads nowhere is verified by nobody.
    assert fields[SIGNED_WITH] == "ECDSA, ECDSA"
    assert fields_of(certificate_message(leaf, stray))[SIGNED_WITH] == "ECDSA"
    assert SIGNED_WITH not in fields_of(certificate_message(authorities(ours)[0]))


def test_a_certificate_whose_names_cannot_be_read_is_told_of_all_the_same(tmp_path: Path) -> None:
    leaf = CA(tmp_path).identity("client").certificate
    # Its alternative name and its common name, neither of them UTF-8.
    odd = leaf.replace(b"\x82\x06client", b"\x82\x06clien\xff")
    odd = odd.replace(b"\x0c\x06client", b"\x0c\x06clien\xff")
    fields = fields_of(certificate_message(leaf, odd))
    assert (fields["chain"], fields["besides"]) == ("client", "a name that cannot be read")
    assert fields[SIGNED_WITH] == "ECDSA"
