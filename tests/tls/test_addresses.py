from __future__ import annotations

import pytest

from asynctls.tls import address_of, network_of


class Named:
    def __init__(self, name: object) -> None:
        self._name = name

    def get_extra_info(self, what: str) -> object:
        return self._name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (("10.0.0.1", 80), "10.0.0.1:80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        ("/run/socket", "/run/socket"),
        (None, "an unknown address"),
    ],
)
def test_addresses_are_written_as_they_are_typed(name: object, text: str) -> None:
    assert address_of(Named(name)) == text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("negative file descriptor"),
        OSError(9, "EBADF"),
        AttributeError("'NoneType' object has no attribute 'getpeername'"),
    ],
)
def test_the_address_of_a_socket_that_is_closed_can_be_asked_for(error: Exception) -> None:
    class Closed:
        def get_extra_info(self, name: str) -> object:
            raise error

    assert address_of(Closed()) == "an unknown address"  # type: ignore[arg-type]
    assert network_of(Closed()) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "network"),
    [
        (("10.0.0.1", 80), "10.0.0.1"),
        (("2001:db8:0:1:2:3:4:5", 80, 0, 0), "2001:db8:0:1::/64"),
        (("2001:db8:0:1::9", 80, 0, 0), "2001:db8:0:1::/64"),
        (("fe80::1%eth0", 80, 0, 2), "fe80::/64"),
        (("::ffff:10.0.0.1", 80, 0, 0), "10.0.0.1"),
        ("/run/socket", None),
        ("", None),
        (None, None),
    ],
)
def test_one_address_is_what_one_peer_can_be_taken_to_hold(
    name: object, network: str | None
) -> None:
    assert network_of(Named(name)) == network  # type: ignore[arg-type]
