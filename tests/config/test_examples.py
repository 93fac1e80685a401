"""The example configs: complete, documented, and true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from asynctls.config import TABLES, ClientConfig, RoleConfig, ServerConfig, check_file, settings
from asynctls.config.tunnels import TUNNEL_KEYS

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = {
    "ttp.toml": ("ttp",),
    "server.toml": ("server",),
    "client.toml": ("client", "identity"),
    "demo.toml": ("demo",),
    "costs.toml": ("costs",),
    "probe.toml": ("probe",),
}
# Their default depends on the machine, or is to have none.
WITHOUT_DEFAULT = {
    "state",
    "join",
    "join_file",
    "key_passphrase_file",
    "ledger",
    "public",
    "max_connections",
    "max_connections_per_address",
    "max_lifetime",
    "metrics_listen",
    "on_renew",
    "send",
    "status_listen",
    "status_url",
    "ttp_state",
}
WITHOUT_DEFAULT_HERE = {
    ("client", "listen"),
    ("costs", "connect"),
    ("costs", "server_name"),
    ("costs", "html"),
    ("probe", "server_name"),
}
# Set in the files, since with the default nobody could connect.
SET = {("server", "allow"), ("client", "server_name")}


def with_every_key(name: str) -> dict[str, dict[str, object]]:
    text = (CONFIGS / name).read_text()
    return tomllib.loads(re.sub(r"^# (?=[a-z_]+ = )", "", text, flags=re.MULTILINE))


def test_there_is_a_file_for_every_table() -> None:
    assert {path.name for path in CONFIGS.glob("*.toml")} == FILES.keys()
    assert sorted(table for tables in FILES.values() for table in tables) == sorted(TABLES)


@pytest.mark.parametrize("name", FILES)
def test_an_example_has_no_fault(name: str) -> None:
    assert check_file(CONFIGS / name) == ()


@pytest.mark.parametrize("name", FILES)
def test_an_example_has_every_key_of_its_tables_and_no_other(name: str) -> None:
    found = with_every_key(name)
    assert tuple(found) == FILES[name]
    for table, content in found.items():
        assert set(content) == {setting.name for setting in settings(TABLES[table])}


@pytest.mark.parametrize("name", FILES)
def test_an_example_tells_the_true_defaults(name: str) -> None:
    for table, content in with_every_key(name).items():
        defaults = TABLES[table]()
        for setting in settings(TABLES[table]):
            here = (table, setting.name)
            if setting.name in WITHOUT_DEFAULT or here in WITHOUT_DEFAULT_HERE | SET:
                continue
            value = setting.read(content[setting.name])
            assert value == getattr(defaults, setting.name), (table, setting.name)


@pytest.mark.parametrize(
    ("name", "kind"), [("server.toml", ServerConfig), ("client.toml", ClientConfig)]
)
def test_an_example_shows_tunnels_and_names_all_that_they_can_set(
    tmp_path: Path, name: str, kind: type[RoleConfig]
) -> None:
    text = (CONFIGS / name).read_text()
    path = tmp_path / name
    path.write_text(re.sub(r"^#     ", "", text, flags=re.MULTILINE))
    assert check_file(path) == ()
    assert len(tomllib.loads(path.read_text())[name.removesuffix(".toml")]["tunnel"]) == 2
    words = " ".join(line.removeprefix("# ") for line in text.splitlines())
    named = re.search(r"A tunnel can set: ([a-z_, ]+)\.", words)
    assert named is not None
    assert tuple(named[1].split(", ")) == TUNNEL_KEYS[kind]


def test_the_server_of_the_example_lets_the_client_in() -> None:
    content = tomllib.loads((CONFIGS / "server.toml").read_text())
    assert content == {"server": {"allow": ["client"]}}
    assert ServerConfig().allow == ()
