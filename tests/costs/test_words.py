"""Groups and messages as people read them."""

from __future__ import annotations

from asynctls.costs.report import Group
from asynctls.costs.words import GROUP_WORDS


def test_every_group_has_words() -> None:
    assert set(GROUP_WORDS) == set(Group)
