"""The chain shows what was done to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynctls.errors import LedgerBrokenError
from asynctls.ttp.chain import EMPTY, Head, Value, canonical, holds, link, verify

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = bytes(range(32))

values = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=20), st.binary(max_size=20)
)
rows = st.dictionaries(st.text(min_size=1, max_size=8), values, max_size=5)


def chain_of(*contents: Mapping[str, Value], key: bytes = KEY) -> list[dict[str, Value]]:
    linked: list[dict[str, Value]] = []
    head = EMPTY
    for content in contents:
        row: dict[str, Value] = {"kind": "test", **content}
        tag = link(key, head.sequence + 1, head.mac, row)
        head_before, head = head, Head(head.sequence + 1, tag)
        linked.append(
            {**row, "sequence": head.sequence, "previous": head_before.mac, "mac": head.mac}
        )
    return linked


def five() -> list[dict[str, Value]]:
    contents: list[dict[str, Value]] = [{"at": n, "body": f"row {n}"} for n in range(5)]
    return chain_of(*contents)


def first_bad(linked: list[dict[str, Value]], **arguments: Head | None) -> tuple[int, str]:
    with pytest.raises(LedgerBrokenError) as caught:
        verify(linked, KEY, **arguments)
    return caught.value.sequence, str(caught.value)


def test_a_whole_chain_gives_its_head() -> None:
    linked = five()
    head = verify(linked, KEY)
    assert head == Head(5, linked[-1]["mac"])  # type: ignore[arg-type]
    assert verify(linked, KEY, head=head) == head


def test_a_chain_without_rows_has_the_empty_head() -> None:
    assert verify([], KEY) == EMPTY


def test_the_mac_of_a_row_is_hmac_sha256_over_its_place_and_its_columns() -> None:
    import hashlib
    import hmac

    row: dict[str, Value] = {"kind": "k", "at": 7, "der": b"\x00", "name": None}
    encoded = (
        b"\x00\x00\x00\x02ati\x00\x00\x00\x08" + (7).to_bytes(8, "big")
        + b"\x00\x00\x00\x03derb\x00\x00\x00\x01\x00"
        + b"\x00\x00\x00\x04kindt\x00\x00\x00\x01k"
    )  # fmt: skip
    assert canonical(row) == encoded
    message = (9).to_bytes(8, "big") + bytes(32) + encoded
    assert link(KEY, 9, bytes(32), row) == hmac.digest(KEY, message, hashlib.sha256)


@given(rows, rows)
def test_two_rows_have_one_encoding_only_if_they_are_one(
    first: dict[str, Value], second: dict[str, Value]
) -> None:
    def said(row: dict[str, Value]) -> dict[str, Value]:
        outside = {"sequence", "previous", "mac"}
        return {k: v for k, v in row.items() if v is not None and k not in outside}

    assert (canonical(first) == canonical(second)) == (said(first) == said(second))


def test_a_column_that_is_null_leaves_older_macs_as_they_are() -> None:
    assert canonical({"kind": "k"}) == canonical({"kind": "k", "added_later": None})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("body", "row X"),
        ("at", 99),
        ("at", "2"),
        ("kind", "other"),
        ("body", None),
        ("body", b"row 2"),
        ("name", "new"),
        ("mac", bytes(32)),
        ("mac", "text"),
        ("mac", None),
        ("at", 1.5),
        ("at", True),
        ("at", 2**70),
        ("body", "\ud800"),
    ],
)
def test_an_altered_row_is_the_first_bad_one(column: str, value: Value) -> None:
    linked = five()
    linked[2][column] = value
    sequence, words = first_bad(linked)
    assert sequence == 3
    assert "row 3 was altered" in words


def test_a_row_linked_to_another_past_is_found() -> None:
    linked = five()
    other = chain_of({"at": 70}, {"at": 71}, {"at": 72})
    sequence, words = first_bad([*linked[:2], other[2], *linked[3:]])
    assert sequence == 3
    assert "does not follow row 2" in words


def test_a_row_taken_out_is_missing() -> None:
    linked = five()
    assert first_bad(linked[:2] + linked[3:])[0] == 3
    assert "row 3 is missing" in first_bad(linked[:2] + linked[3:])[1]
    assert "rows 1 to 3 are missing" in first_bad(linked[3:])[1]


def test_a_row_below_the_first_is_out_of_place() -> None:
    linked = five()
    assert first_bad([{**linked[0], "sequence": 0}, *linked])[0] == 1
    assert first_bad([linked[0], linked[0]])[0] == 2
    assert first_bad([{**linked[0], "sequence": "1"}])[0] == 1


def test_two_rows_that_changed_places_are_found() -> None:
    linked = five()
    linked[1]["sequence"], linked[2]["sequence"] = 3, 2
    assert first_bad([linked[0], linked[2], linked[1]])[0] == 2


def test_another_key_is_named_as_a_possible_cause() -> None:
    sequence, words = first_bad(chain_of({"at": 1}, {"at": 2}, key=bytes(32)))
    assert sequence == 1
    assert "not the ledger's key" in words


def test_a_first_row_that_was_altered_is_told_from_another_key() -> None:
    linked = five()
    linked[0]["body"] = "x"
    sequence, words = first_bad(linked)
    assert (sequence, "not the ledger's key" in words) == (1, False)


def test_rows_cut_off_the_end_show_only_against_a_head() -> None:
    linked = five()
    head = verify(linked, KEY)
    assert verify(linked[:3], KEY).sequence == 3
    sequence, words = first_bad(linked[:3], head=head)
    assert sequence == 4
    assert "ends at row 3" in words


def test_a_ledger_put_back_and_continued_shows_against_a_head() -> None:
    linked = five()
    head = verify(linked, KEY)
    went_on = chain_of(*({"at": n, "body": f"row {n}"} for n in (0, 1, 2, 70, 71, 72)))
    sequence, words = first_bad(went_on, head=head)
    assert sequence == 5
    assert "put back" in words
    assert verify(went_on, KEY, head=Head(3, linked[2]["mac"]))  # type: ignore[arg-type]


@given(st.integers(1, 2**40), st.binary(min_size=32, max_size=32))
def test_a_head_is_read_as_it_is_written(sequence: int, tag: bytes) -> None:
    head = Head(sequence, tag)
    assert Head.parse(str(head)) == head


@pytest.mark.parametrize(
    "text", ["", "5", "5:", "5:ab", ":" + 64 * "a", "-1:" + 64 * "a", "0:" + 64 * "a", "x:y"]
)
def test_what_is_no_head_is_refused_with_words(text: str) -> None:
    with pytest.raises(ValueError, match="head"):
        Head.parse(text)


@given(st.dictionaries(st.sampled_from(["sequence", "previous", "mac", "at"]), values))
def test_no_row_makes_the_check_raise(row: dict[str, Value]) -> None:
    complete: dict[str, Value] = {"sequence": None, "previous": None, "mac": None, **row}
    assert not holds(KEY, complete)


def test_a_head_before_the_first_row_does_not_pass_for_any_mac() -> None:
    with pytest.raises(LedgerBrokenError, match="before its first row"):
        verify([], KEY, head=Head(0, bytes(range(32))))
    assert verify([], KEY, head=EMPTY) == EMPTY
