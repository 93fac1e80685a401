"""The end of a demo: certificates, cipher suite, bytes by part, time by operation."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from asynctls.pki.keys import judge_public_key, key_from_pem, key_type_of
from asynctls.pki.names import format_serial
from asynctls.state import read_private

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography import x509

    from asynctls.demo.processes import Event
    from asynctls.enrolment import Identity

__all__ = ["Facts", "Operation", "measure_operations", "summary"]

_ROLES = ("client", "server")
_PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("hellos", ("hellos",)),
    ("certificates", ("certificates",)),
    ("key exchange", ("key_exchange",)),
    ("certificate verify", ("certificate_verify",)),
    ("change cipher spec and finished", ("finished",)),
    ("session ticket", ("tickets",)),
    ("shared secret", ("KEY", "READY")),
    ("message", ("DATA",)),
    ("receipt", ("RECEIPT",)),
    ("close", ("CLOSE", "alerts")),
)
_RUNS = 20


@dataclass(slots=True)
class Facts:
    """What the events of a run said that the summary tells."""

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
                seconds = float(str(fields["seconds"]))
                self._note(
                    f"{_key_words(str(fields['key_type']))} key generation, {event.role}", seconds
                )
            case "issued":
                seconds = float(str(fields["sign_ms"])) / 1000
                self._note(f"certificate signed by the TTP, for {fields['name']}", seconds)
            case "session ended":
                sent = fields.get("sent")
                if isinstance(sent, dict):
                    self.sent[event.role] = {str(key): int(n) for key, n in sent.items()}
                seconds = float(str(fields["hmac_us"])) / 1e6
                self._note(f"HMAC over all frames, {event.role}", seconds)

    def _note(self, name: str, seconds: float) -> None:
        self.operations.append(Operation(name, seconds))


@dataclass(frozen=True, slots=True)
class Operation:
    """How long something took, in seconds."""

    name: str
    seconds: float


def measure_operations(identity: Identity) -> list[Operation]:
    """Signing and verifying with a key pair of this run, the median of some tries; blocks."""
    key = key_from_pem(read_private(identity.key_file))
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"the demo's roles have RSA keys, not {identity.key_type}")
    handshake = identity.certificate
    rules = (padding.PKCS1v15(), hashes.SHA256())
    signature = key.sign(handshake, *rules)
    public_key = key.public_key()
    name = str(identity.key_type).replace("rsa-", "RSA ")
    return [
        Operation(f"{name} signature (SHA-256)", _timed(lambda: key.sign(handshake, *rules))),
        Operation(
            f"{name} signature verified",
            _timed(lambda: public_key.verify(signature, handshake, *rules)),
        ),
    ]


def _timed(work: Callable[[], object]) -> float:
    times = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return median(times)


def summary(facts: Facts, *, root: x509.Certificate, identities: list[Identity]) -> Group:
    """The summary as something that `rich` prints."""
    return Group(
        _certificates(root, identities),
        Text(f"Cipher suite  {facts.suite}"),
        Text(f"Messages      {facts.messages} sent, verified and acknowledged\n"),
        _bytes(facts.sent),
        _times(facts.operations),
    )


def _certificates(root: x509.Certificate, identities: list[Identity]) -> Table:
    table = _table("Certificates")
    for heading in ("name", "serial", "key", "valid until"):
        table.add_column(heading)
    names = root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    table.add_row(
        str(names[0].value) if names else "root",
        format_serial(root.serial_number)[:16] + "…",
        _key_words(str(key_type_of(judge_public_key(root.public_key())))),
        f"{root.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
    )
    for identity in identities:
        table.add_row(
            identity.name,
            identity.serial[:16] + "…",
            _key_words(str(identity.key_type)),
            f"{identity.not_after:%Y-%m-%d %H:%M} UTC",
        )
    return table


def _bytes(sent: Mapping[str, Mapping[str, int]]) -> Table:
    table = _table("Bytes sent, TLS records included")
    table.add_column("part")
    for role in _ROLES:
        table.add_column(role, justify="right")
    for words, parts in _PARTS:
        counts = [sum(sent.get(role, {}).get(part, 0) for part in parts) for role in _ROLES]
        table.add_row(words, *(f"{count:,}" if count else "-" for count in counts))
    table.add_section()
    table.add_row("in all", *(f"{sum(sent.get(role, {}).values()):,}" for role in _ROLES))
    return table


def _times(operations: list[Operation]) -> Table:
    table = _table("Time taken by each operation")
    table.add_column("operation")
    table.add_column("time", justify="right")
    for operation in operations:
        table.add_row(operation.name, _time_words(operation.seconds))
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)


def _key_words(key_type: str) -> str:
    return key_type.upper().replace("-", " ")


def _time_words(seconds: float) -> str:
    if seconds >= 1e-3:
        return f"{seconds * 1e3:,.1f} ms"
    return f"{seconds * 1e6:,.1f} µs"
