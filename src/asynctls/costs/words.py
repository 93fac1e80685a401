"""Groups and messages as people read them: the same words in every picture and table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.costs.report import Group

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GROUP_WORDS", "SIDE_WORDS"]

GROUP_WORDS: Mapping[Group, str] = {
    Group.HELLOS: "hellos",
    Group.CERTIFICATES: "certificates",
    Group.KEY_EXCHANGE: "key exchange",
    Group.CERTIFICATE_VERIFY: "certificate verify",
    Group.FINISHED: "change cipher spec and finished",
    Group.TICKETS: "session ticket",
    Group.SHARED_SECRET: "shared secret",
    Group.MESSAGES: "messages",
    Group.RECEIPTS: "receipts",
    Group.CLOSE: "close",
    Group.CA_CHAIN: "CA chain",
    Group.CSR: "certificate request",
    Group.CERTIFICATE: "new certificate",
    Group.CRLS: "CRLs",
}
SIDE_WORDS: Mapping[str, str] = {"client": "client", "server": "server", "ttp": "TTP"}
