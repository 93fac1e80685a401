"""What a run of the demo cost: bytes that the roles sent, and how long each operation took.

What the roles logged counts. Single signatures happen inside TLS, where nobody times them; they are
measured apart, with a key pair of this very run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from asynctls.pki.keys import key_from_pem
from asynctls.pki.timing import seconds_for_one, signing
from asynctls.state import read_private
from asynctls.words import key_words

if TYPE_CHECKING:
    from asynctls.demo.processes import Event
    from asynctls.enrolment import Identity

__all__ = ["Facts", "Kind", "Operation", "measure_operations"]


class Kind(IntEnum):
    """The kinds of operation, in the order in which they are shown."""

    KEY_GENERATION = 1
    SIGNING = 2
    VERIFYING = 3
    HMAC = 4


@dataclass(frozen=True, slots=True)
class Operation:
    """How long something took, in seconds."""

    kind: Kind
    name: str
    seconds: float


@dataclass(slots=True)
class Facts:
    """What the events of a run said.

    Attributes:
        suite: the protocol version and the cipher suite.
        messages: how many were sent and acknowledged.
        sent: TLS bytes by role and part.
        operations: what took how long.
    """

    suite: str = ""
    messages: int = 0
    sent: dict[str, dict[str, int]] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)

    def take(self, event: Event) -> None:
        """Notes what an event says."""
        fields = event.fields
        match event.name:
            case "connected":
                self.suite = f"{fields['version']}, {fields['cipher']}"
            case "message sent":
                self.messages += 1
            case "key pair made":
                name = f"{key_words(str(fields['key_type']))} key generation, {event.role}"
                self._note(Kind.KEY_GENERATION, name, fields["seconds"], 1)
            case "issued":
                name = f"certificate signed by the TTP, {fields['name']}"
                self._note(Kind.SIGNING, name, fields["sign_ms"], 1e-3)
            case "session ended":
                sent = fields["sent"]
                if isinstance(sent, dict):
                    self.sent[event.role] = {str(part): int(n) for part, n in sent.items()}
                self._note(Kind.HMAC, f"HMAC of all frames, {event.role}", fields["hmac_us"], 1e-6)

    def _note(self, kind: Kind, name: str, number: object, unit_s: float) -> None:
        self.operations.append(Operation(kind, name, float(str(number)) * unit_s))


def measure_operations(identity: Identity) -> list[Operation]:
    """Signing and verifying with a key pair of this run, the median of some tries; blocks."""
    key = key_from_pem(read_private(identity.key_file))
    sign, verify = signing(key, identity.certificate)
    name = f"{key_words(identity.key_type)} signature"
    return [
        Operation(Kind.SIGNING, name, seconds_for_one(sign)),
        Operation(Kind.VERIFYING, f"{name} verified", seconds_for_one(verify)),
    ]
