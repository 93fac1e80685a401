"""The end of a demo as tables: certificates, cipher suite, bytes by part, time by operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from asynctls.pki.keys import judge_public_key, key_type_of
from asynctls.pki.names import common_name_of, format_serial
from asynctls.words import key_words, time_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography import x509

    from asynctls.demo.facts import Facts, Operation
    from asynctls.enrolment import Identity

__all__ = ["summary"]

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


def summary(facts: Facts, *, root: x509.Certificate, identities: Sequence[Identity]) -> Group:
    """The summary as something that `rich` prints."""
    return Group(
        _certificates(root, identities),
        Text(f"Cipher suite  {facts.suite}"),
        Text(f"Messages      {facts.messages} sent, verified and acknowledged\n"),
        _bytes(facts.sent),
        _times(facts.operations),
    )


def _certificates(root: x509.Certificate, identities: Sequence[Identity]) -> Table:
    table = _table("Certificates", "name", "serial", "key", "valid until")
    table.add_row(
        common_name_of(root.subject) or "root",
        f"{format_serial(root.serial_number)[:8]}…",
        key_words(key_type_of(judge_public_key(root.public_key()))),
        f"{root.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
    )
    for identity in identities:
        table.add_row(
            identity.name,
            f"{identity.serial[:8]}…",
            key_words(identity.key_type),
            f"{identity.not_after:%Y-%m-%d %H:%M} UTC",
        )
    return table


def _bytes(sent: Mapping[str, Mapping[str, int]]) -> Table:
    table = _table("Bytes sent, TLS records included", "part")
    for role in _ROLES:
        table.add_column(role, justify="right")
    for words, parts in _PARTS:
        counts = [sum(sent.get(role, {}).get(part, 0) for part in parts) for role in _ROLES]
        table.add_row(words, *(f"{count:,}" if count else "-" for count in counts))
    table.add_section()
    table.add_row("in all", *(f"{sum(sent.get(role, {}).values()):,}" for role in _ROLES))
    return table


def _times(operations: Sequence[Operation]) -> Table:
    table = _table("Time taken", "operation")
    table.add_column("time", justify="right")
    for operation in sorted(operations, key=lambda each: each.kind):
        table.add_row(operation.name, time_words(operation.seconds))
    return table


def _table(title: str, *headings: str) -> Table:
    return Table(
        *headings, title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
