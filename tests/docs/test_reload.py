"""The guide to reloading names what needs a restart, as the code has it."""

from __future__ import annotations

import re

import pytest

from asynctls.config import TABLES
from asynctls.config.restart import NEEDS_RESTART
from tests.docs.pages import GUIDES

PAGE = (GUIDES / "reload.md").read_text()
EVERY_ONE = {"log_format", "state", "metrics_listen"}


def named(role: str) -> set[str]:
    row = re.search(rf"^\| {role} \| (.*) \|$", PAGE, flags=re.MULTILINE)
    return set(re.findall(r"`([a-z_]+)`", row[1])) if row else set()


@pytest.mark.parametrize("table", ["ttp", "server", "client", "identity"])
def test_what_needs_a_restart_is_named_for_each_role(table: str) -> None:
    role = table.upper() if table == "ttp" else table
    assert named("every one") == EVERY_ONE
    # A server's addresses do so only where it has workers.
    own = named(role) - ({"listen"} if table == "server" else set())
    assert EVERY_ONE | own == set(NEEDS_RESTART[TABLES[table]])
