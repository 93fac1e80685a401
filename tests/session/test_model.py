"""The protocol's model, by a model checker: docs/model.md."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

CHECK = Path(__file__).parents[2] / "docs" / "model" / "check.sh"


@pytest.fixture
def check(program: Callable[[str], Path]) -> Callable[..., subprocess.CompletedProcess[str]]:
    program("spin")
    program("cc")

    def run(*macros: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", CHECK, *(f"-D{macro}" for macro in macros)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    "macros", [(), ("RELAY", "MESSAGES=1"), ("AGAIN", "MESSAGES=1")], ids=["one", "relay", "again"]
)
def test_no_state_breaks_agreement_order_receipts_or_a_clean_end(
    check: Callable[..., subprocess.CompletedProcess[str]], macros: tuple[str, ...]
) -> None:
    found = check(*macros)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "errors: 0" in found.stdout


# The words of the assertion that fails: each defence stops an attack of its own.
SENDER = "from==(e^1)"
ORDER = "sent[from].message[i]==at[e].taken"


@pytest.mark.parametrize(
    ("macros", "broken"),
    [
        (("NO_MAC",), SENDER),
        (("NO_BINDING", "RELAY"), SENDER),
        (("NO_BINDING", "AGAIN", "MESSAGES=1"), SENDER),
        (("NO_DIRECTION",), ORDER),
        (("NO_SEQUENCE",), ORDER),
        (("NO_CLOSE",), "at[(e^1)].closed"),
        (("EARLY_RECEIPT",), "at[(e^1)].taken>=at[e].told"),
        (("SPEAKING", "RELAY", "MESSAGES=1"), SENDER),
        (("HONEST",), "assert(0)"),
    ],
    ids=lambda each: "-".join(each) if isinstance(each, tuple) else "",
)
def test_without_a_defence_the_attack_that_it_stops_is_found(
    check: Callable[..., subprocess.CompletedProcess[str]], macros: tuple[str, ...], broken: str
) -> None:
    found = check(*macros)
    assert found.returncode == 1, found.stdout + found.stderr
    failed = next(line for line in found.stdout.splitlines() if "text of failed" in line)
    assert broken in failed
