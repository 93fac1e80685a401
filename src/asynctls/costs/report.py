"""What a run cost, as values: every picture, table and JSON is made from these and nothing else.

Bytes are those of TLS records, their headers included, as they were on the wire; a message's
payload is what of them somebody wanted to say. Times are microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 (msgspec reads the annotations)
from enum import StrEnum

import msgspec

__all__ = ["Card", "Conversation", "Cost", "Group", "Handshake", "Message", "Operation", "Report"]


class Group(StrEnum):
    """What a message is for: the groups of the original system's account, and the enrolment's."""

    HELLOS = "hellos"
    CERTIFICATES = "certificates"
    KEY_EXCHANGE = "key_exchange"
    CERTIFICATE_VERIFY = "certificate_verify"
    FINISHED = "finished"
    TICKETS = "tickets"
    SHARED_SECRET = "shared_secret"  # noqa: S105 (a group's name)
    MESSAGES = "messages"
    RECEIPTS = "receipts"
    CLOSE = "close"
    CA_CHAIN = "ca_chain"
    CSR = "csr"
    CERTIFICATE = "certificate"
    CRLS = "crls"


class Handshake(StrEnum):
    """How a connection came about."""

    FULL = "full"
    RESUMED = "resumed"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One arrow of the ladder.

    Attributes:
        at_us: when it went by, since the conversation's first byte.
        sender: `client`, `server` or `ttp`.
        receiver: likewise.
        name: as its RFC calls it: `ClientHello`, `KEY`, `POST /simpleenroll`.
        group: what it is for.
        octets: its bytes on the wire, record headers included.
        payload: how many of them somebody wanted to say; the rest is what security costs.
        records: TLS records that it came in.
        encrypted: only the two ends could read it.
        fields: what is in it, for people.
        alike: how many messages like it this one stands for; `octets` and the like are of all.
    """

    at_us: float
    sender: str
    receiver: str
    name: str
    group: Group
    octets: int
    payload: int = 0
    records: int = 1
    encrypted: bool = False
    fields: Mapping[str, str] = {}
    alike: int = 1


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a group: in all, and by who sent them."""

    octets: int
    records: int
    by_sender: Mapping[str, int]


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """One TLS connection from its first byte to its last.

    Attributes:
        title: for people.
        kind: `bootstrap` (the root, by its fingerprint alone), `enrolment`, `session`, or `tls`:
            the same messages without a session.
        began_us: when, on the run's clock; its messages' times begin there anew.
        key_type: of the certificates: `rsa-2048`, `ecdsa-p256`.
        handshake: full or resumed.
        sent_messages: messages of the application.
        version: of TLS.
        cipher: the cipher suite.
        messages: in the order in which they went by.
        groups: the same bytes by group.
        octets: their sum.
        payload: of `octets`, what the application wanted to say.
        overhead: the share that is not payload, 0 to 1.
        round_trips: how often one side had to wait for the other.
        segments: TCP segments at an MTU of 1500, computed, by sender.
        loopback_segments: how often bytes were really handed on, by sender.
        duration_us: from the first byte to the last.
    """

    title: str
    kind: str
    began_us: float
    key_type: str
    handshake: Handshake
    sent_messages: int
    version: str
    cipher: str
    messages: tuple[Message, ...]
    groups: Mapping[Group, Cost]
    octets: int
    payload: int
    overhead: float
    round_trips: int
    segments: Mapping[str, int]
    loopback_segments: Mapping[str, int]
    duration_us: float

    @property
    def joins(self) -> bool:
        """Whether it is on the way to an identity, and so with the TTP."""
        return self.kind in ("bootstrap", "enrolment")


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A cryptographic operation on this machine.

    Attributes:
        name: its key in the JSON: `rsa_sign`, `ecdhe`, `aes_gcm`, `hkdf`, `hmac`.
        words: for people.
        seconds: for one, the median of several.
        counts: how many of them one run needs, by side (`client`, `server`, `ttp`) and key type:
            `{"rsa-2048": {"client": 1, "server": 2}}`.
    """

    name: str
    words: str
    seconds: float
    counts: Mapping[str, Mapping[str, int]]

    @property
    def totals(self) -> Mapping[str, Mapping[str, float]]:
        """The seconds that the counted ones take, by key type and side."""
        return {
            key_type: {side: n * self.seconds for side, n in sides.items()}
            for key_type, sides in self.counts.items()
        }


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate for people: `lines` are what a reader wants to know, in their order."""

    title: str
    octets: int
    lines: Mapping[str, str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        made_at: ISO 8601, UTC.
        machine: what it was measured on, for people.
        conversations: the session that tells the story (RSA, full handshake, one message) first.
        operations: in the order in which they are shown.
        aes_against_rsa: how many times longer one RSA decryption takes than AES for the same bytes.
        cards: the certificates of the story.
        notes: what a reader must know to take the figures rightly.
    """

    made_at: str
    machine: str
    conversations: tuple[Conversation, ...]
    operations: tuple[Operation, ...]
    aes_against_rsa: float
    cards: tuple[Card, ...]
    notes: tuple[str, ...] = ()
