"""Several services of one role: what each has of its own, what of the role, and every fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynctls.config import (
    TABLES,
    Address,
    AppChoice,
    ClientConfig,
    Endpoint,
    ServerConfig,
    check_file,
    load,
    settings,
)
from asynctls.config.tunnels import TUNNEL_KEYS
from asynctls.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.config import RoleConfig

SERVER = """
[server]
allow = ["client"]
handshakes = 7
[[server.tunnel]]
listen = "127.0.0.1:9001"
app = "forward:unix:db.sock"
[[server.tunnel]]
listen = "127.0.0.1:9002"
app = "echo"
allow = ["other"]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.toml"


def keys(path: Path) -> dict[str, str]:
    faults = check_file(path)
    assert len({fault.key for fault in faults}) == len(faults), faults
    return {fault.key: fault.problem for fault in faults}


def test_a_tunnel_has_its_own_settings_and_the_role_s_for_the_rest(path: Path) -> None:
    path.write_text(SERVER)
    config = load(ServerConfig, path=path, overrides={"handshakes": 9}, environ={})
    assert config.handshakes == 9
    database, echo = config.tunnel
    assert database.listen == Address("127.0.0.1", 9001)
    assert database.app == AppChoice.parse(f"forward:unix:{path.parent}/db.sock")
    assert (database.allow, database.handshakes) == (("client",), 9)
    assert (echo.app.name, echo.allow, echo.tunnel) == ("echo", ("other",), ())


def test_a_client_has_tunnels_too(path: Path) -> None:
    path.write_text(
        '[client]\nserver_name = "server"\nmetrics_listen = "127.0.0.1:9000"\n'
        '[[client.tunnel]]\nlisten = "127.0.0.1:0"\nconnect = "h:1"\n'
        '[[client.tunnel]]\nlisten = "127.0.0.1:0"\nconnect = "h:2"\nserver_name = "other"\n'
    )
    first, second = load(ClientConfig, path=path, overrides={}, environ={}).tunnel
    assert first.listen == second.listen == Endpoint(Address("127.0.0.1", 0))
    assert (first.connect, first.server_name) == (Address("h", 1), "server")
    assert (second.connect, second.server_name) == (Address("h", 2), "other")


def test_every_fault_of_every_tunnel_is_told_with_its_place(path: Path) -> None:
    path.write_text(
        '[server]\ndrain = "soon"\nlisten = "h:1"\n'
        '[[server.tunnel]]\nlisten = 7\nstate = "s"\n'
        '[[server.tunnel]]\nap = "echo"\n'
        "[client]\nfollow = true\n"
        '[[client.tunnel]]\nlisten = "h:1"\nconnect = "h:0"\n'
    )
    found = keys(path)
    assert set(found) == {
        "server.drain",
        "server.listen",
        "server.tunnel[1].listen",
        "server.tunnel[1].state",
        "server.tunnel[2].listen",
        "server.tunnel[2].ap",
        "client.follow",
        "client.tunnel[1].connect",
    }
    assert "beside [[server.tunnel]]" in found["server.listen"]
    assert "it belongs in [" in found["server.tunnel[1].state"]
    assert "did you mean app?" in found["server.tunnel[2].ap"]
    assert "address of its own" in found["server.tunnel[2].listen"]


@pytest.mark.parametrize("listen", ["127.0.0.1:9001", "unix:a.sock"])
def test_two_tunnels_cannot_be_at_one_address(path: Path, listen: str) -> None:
    path.write_text(f'[[client.tunnel]]\nlisten = "{listen}"\n' * 2)
    found = keys(path)
    assert set(found) == {"client.tunnel[2].listen"}
    assert "is the address of client.tunnel[1] too" in found["client.tunnel[2].listen"]


@pytest.mark.parametrize(
    ("overrides", "environ", "source"),
    [
        ({"listen": "h:1"}, {}, "--listen"),
        ({}, {"ASYNCTLS_APP": "echo"}, "ASYNCTLS_APP"),
    ],
)
def test_what_would_hold_for_no_tunnel_cannot_be_set_beside_them(
    path: Path, overrides: dict[str, object], environ: dict[str, str], source: str
) -> None:
    path.write_text(SERVER)
    with pytest.raises(ConfigError) as caught:
        load(ServerConfig, path=path, overrides=overrides, environ=environ)
    (fault,) = caught.value.faults
    assert fault.source == source
    assert "set it there" in fault.problem


def test_what_disagrees_is_told_where_it_was_set_and_once(path: Path) -> None:
    path.write_text(
        "[server]\nmax_connections_per_address = 10\n"
        '[[server.tunnel]]\nlisten = "h:1"\n'
        '[[server.tunnel]]\nlisten = "h:2"\nmax_connections = 5\n'
    )
    assert set(keys(path)) == {"server.tunnel[2].max_connections_per_address"}
    path.write_text('[server]\nmessage = "{a}"\n[[server.tunnel]]\nlisten = "h:1"\n')
    assert set(keys(path)) == {"server.message"}


@pytest.mark.parametrize("value", ["7", "[7]", '{listen = "h:1"}'])
def test_tunnels_are_tables(path: Path, value: str) -> None:
    path.write_text(f"[server]\ntunnel = {value}\n")
    assert "[[server.tunnel]]" in keys(path)["server.tunnel"]


def test_a_role_without_tunnels_knows_no_such_key(path: Path) -> None:
    path.write_text("[[ttp.tunnel]]\n")
    assert keys(path)["ttp.tunnel"].startswith("unknown key")


@pytest.mark.parametrize("kind", TUNNEL_KEYS)
def test_what_a_tunnel_can_set_are_settings_of_its_role(kind: type[RoleConfig]) -> None:
    assert kind in TABLES.values()
    assert set(TUNNEL_KEYS[kind]) <= {setting.name for setting in settings(kind)}
