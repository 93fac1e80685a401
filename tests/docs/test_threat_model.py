"""The threat model: what it claims is proved by tests that there are, and tried by the probe."""

from __future__ import annotations

import re

from asynctls.probe.playbook import PLAYBOOK
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "threat-model.md"
# Not an attack: whether an honest client is served after all of them.
LAST = PLAYBOOK[-1].name


def claims() -> list[list[str]]:
    """The rows of the table of attacks."""
    _, _, table = PAGE.read_text().partition("## What stops what")
    table = table.partition("## What is not covered")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    # An empty last cell has gone with the bar.
    return [row if len(row) == 4 else [*row, ""] for row in rows[1:]]


def tried(cell: str) -> set[str]:
    """The attacks that a cell names; one that ends in '…' means all that begin so."""
    names = [name.strip(" |") for name in cell.split(";")]
    return {
        attack.name
        for attack in PLAYBOOK
        for name in names
        if attack.name == name or (name.endswith("…") and attack.name.startswith(name[:-1]))
    }


def test_each_claim_is_proved_by_a_test_that_there_is() -> None:
    assert len(claims()) > 30
    for attack, _, proofs, _ in claims():
        named = re.findall(r"`(tests/\S+?)::(\w+)`", proofs)
        assert named, attack
        for path, test in named:
            assert f"def {test}(" in (ROOT / path).read_text(), f"{attack}: {path}::{test}"


def test_each_attack_of_the_probe_belongs_to_a_claim_and_the_other_way_round() -> None:
    found: set[str] = set()
    for attack, _, _, cell in claims():
        rows = tried(cell)
        assert len(rows) >= len([name for name in cell.split(";") if name.strip(" |")]), attack
        found |= rows
    assert found == {attack.name for attack in PLAYBOOK} - {LAST}
