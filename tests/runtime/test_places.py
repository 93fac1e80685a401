from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from asynctls.runtime.places import Limit, Places, open_files

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def few_files() -> Iterator[int]:
    """What is left for connections under a limit of 68 open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (68, hard))
    yield 4
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_there_are_so_many_places_in_all_and_who_leaves_makes_room() -> None:
    places = Places(2, per_address=2)
    assert [places.take(None), places.take("a"), places.take("b")] == [None, None, Limit.IN_ALL]
    places.leave("a")
    assert places.take("b") is None
    places.leave("b")
    places.leave(None)


def test_one_address_has_half_of_them_unless_it_is_said_otherwise() -> None:
    for places, most in ((Places(5), 2), (Places(1), 1), (Places(5, per_address=4), 4)):
        for _ in range(most):
            assert places.take("a") is None
        limit = Limit.PER_ADDRESS if most > 1 else Limit.IN_ALL
        assert places.take("a") is limit
        for _ in range(most):
            places.leave("a")


def test_what_has_no_address_is_not_counted_by_it() -> None:
    places = Places(4, per_address=1)
    assert [places.take(None) for _ in range(4)] == [None] * 4
    for _ in range(4):
        places.leave(None)


def test_the_process_has_so_many_open_files_whatever_each_listener_may_have(few_files: int) -> None:
    assert open_files() == few_files
    carried, plain = Places(100, per_address=100, sockets=2), Places(100, per_address=100)
    assert [carried.take("a"), plain.take("a"), plain.take("a")] == [None] * 3
    assert plain.take("a") is Limit.OPEN_FILES
    plain.leave("a")
    assert carried.take("a") is Limit.OPEN_FILES
    plain.leave("a")
    assert carried.take("a") is None
    assert Places(1, sockets=0).take("a") is None
    for _ in range(2):
        carried.leave("a")


def test_without_a_number_there_are_as_many_as_open_files_allow(few_files: int) -> None:
    assert Places().most(Limit.IN_ALL) == few_files
    assert Places(sockets=2).most(Limit.IN_ALL) == few_files // 2


def test_other_numbers_count_for_those_who_come_and_put_nobody_out(few_files: int) -> None:
    places = Places(few_files, per_address=few_files)
    assert [places.take("a") for _ in range(3)] == [None] * 3
    places.change(2, per_address=2, sockets=1)
    assert places.take("b") is Limit.IN_ALL
    for _ in range(2):
        places.leave("a")
    assert [places.take("a"), places.take("b")] == [None, Limit.IN_ALL]
    # As a service that is now carried on: two sockets each, the ones that are there as well.
    places.change(few_files, per_address=few_files, sockets=2)
    assert places.take("b") is Limit.OPEN_FILES
    for _ in range(2):
        places.leave("a")
    assert [places.take("b"), places.take("b")] == [None, None]
    for _ in range(2):
        places.leave("b")
