"""Groups and messages as people read them."""

from __future__ import annotations

from asynctls.costs.report import Group
from asynctls.costs.words import GROUP_WORDS, abridged


def test_every_group_has_words() -> None:
    assert set(GROUP_WORDS) == set(Group)


def test_a_long_number_in_a_path_is_cut_short() -> None:
    assert abridged("GET /crl/302d7c1c3bb8f427073353de34b52d1f4f60088d") == "GET /crl/302d7c1c…"
    assert abridged("POST /simpleenroll") == "POST /simpleenroll"
