"""What each message is there for, in a sentence, and where that is laid down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.costs.report import Group

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynctls.costs.report import Message

__all__ = ["purpose_of"]

_BY_NAME: Mapping[str, str] = {
    "ClientHello": "What the client can do, and 32 random bytes that make this handshake unlike"
    " any other, so that no old one can be replayed (RFC 5246, 7.4.1.2).",
    "ServerHello": "What the server has chosen of it, and random bytes of its own (RFC 5246,"
    " 7.4.1.3).",
    "Certificate": "Who the sender is, and by which CA that is vouched for; or, if it is empty,"
    " that the sender has no certificate (RFC 5246, 7.4.2 and 7.4.6).",
    "ServerKeyExchange": "The public half of a key pair for this connection alone, signed with the"
    " key of the certificate: nobody in between can put in another (RFC 8422, 5.4).",
    "CertificateRequest": "The client shall show a certificate as well: that makes it mutual TLS"
    " (RFC 5246, 7.4.4).",
    "ServerHelloDone": "It is the client's turn (RFC 5246, 7.4.5).",
    "ClientKeyExchange": "The public half of the client's key pair for this connection. Both ends"
    " now compute the same secret; whoever only listens cannot (RFC 8422, 5.7).",
    "CertificateVerify": "A signature over all that was said so far: a certificate alone, which"
    " anybody can copy, proves nothing (RFC 5246, 7.4.8).",
    "ChangeCipherSpec": "All that follows from this side is encrypted (RFC 5246, 7.1).",
    "Finished": "The first bytes under the new keys, made from the whole handshake: had anybody"
    " changed a bit of it, they would not fit (RFC 5246, 7.4.9).",
    "NewSessionTicket": "What the client shows when it comes back, in the place of certificates"
    " and signatures: the server's own notes, encrypted for itself (RFC 5077, 3.3).",
    "close_notify": "The end of the TLS connection, said under its keys, so that a cut wire is not"
    " taken for an end (RFC 5246, 7.2.1).",
    "KEY": "A fresh secret of the client's. Both ends derive their HMAC keys from it, the two"
    " certificates and this very connection (asynctls/1).",
    "READY": "The server has the same keys, so it saw the same certificates and the same"
    " connection: nobody stands in between (asynctls/1).",
    "DATA": "What somebody wanted to say, with its number and an HMAC tag: whatever is forged,"
    " replayed or missing is found (asynctls/1).",
    "RECEIPT": "The other application has taken the message: sent means delivered (asynctls/1).",
    "CLOSE": "There is no more to come from this side. A connection that ends without it was cut"
    " (asynctls/1).",
}

_BY_GROUP: Mapping[Group, str] = {
    Group.CA_CHAIN: "The certificates of the CA, against which all others will be verified (RFC"
    " 7030, 4.1).",
    Group.CSR: "A request for a certificate, signed with the new key to prove that it is there,"
    " and a one-time token that says who asks (RFC 7030, 4.2.1).",
    Group.CERTIFICATE: "The certificate, signed by the issuing CA (RFC 7030, 4.2.3).",
    Group.CRLS: "Which certificates are revoked, so that nobody need ask for each (RFC 5280, 5).",
}


def purpose_of(message: Message) -> str:
    """The sentence for a message; empty where its name and group say all there is."""
    return _BY_NAME.get(message.name) or _BY_GROUP.get(message.group, "")
