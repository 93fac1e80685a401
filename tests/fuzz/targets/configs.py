"""Config files (`config.loading`): settings, or every fault in words; never another end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.config.loading import check_file, load
from asynctls.config.tables import TABLES
from asynctls.errors import ConfigError
from tests.fuzz.scratch import scratch_folder

if TYPE_CHECKING:
    from asynctls.errors import Fault


def run(data: bytes) -> bool:
    """A file's content."""
    path = scratch_folder("configs") / "asynctls.toml"
    path.write_bytes(data)
    faults = check_file(path)
    _check_words(faults)
    for kind in TABLES.values():
        try:
            load(kind, path=path, overrides={}, environ={})
        except ConfigError as error:
            assert faults, "'config check' finds nothing, and a role does"
            _check_words(error.faults)
    return not faults


def _check_words(faults: tuple[Fault, ...]) -> None:
    for fault in faults:
        assert fault.key
        assert str(fault).strip()


def seeds() -> dict[str, bytes]:
    """Tables of each role, tunnels, and one fault of each kind."""
    made = {
        "empty": "",
        "roles": """
[ttp]
listen = "127.0.0.1:8440"
name = ["ttp.example", "10.0.0.1"]
allow_names = ["*.example.org", "10.0.0.0/8", "spiffe://td/*"]
issuing_lifetime = "730d"
[server]
listen = "[::1]:0"
allow = ["client", "*.example.org"]
app = "forward:unix:/run/app"
max_connections = 100
[client]
connect = "server:8443"
follow = true
""",
        "tunnels": """
[[server.tunnel]]
listen = "127.0.0.1:1"
app = "forward:127.0.0.1:5432"
allow = ["any"]
[[server.tunnel]]
listen = "127.0.0.1:2"
app = "echo"
[[client.tunnel]]
listen = "unix:one"
connect = "server:1"
""",
        "no-such-key": "[server]\nlisen = '127.0.0.1:1'\n",
        "no-such-table": "[sever]\n",
        "no-table": "listen = 1\n[client]\nfollow = 3\n",
        "no-tables": "ttp = 3\nserver.tunnel = [1]\n",
        "no-values": "[ttp]\nlisten = 1979-05-27\nname = {a = 1}\ntoken_ttl = 'soon'\n",
        "no-two": "[client]\njoin = 'est://'\njoin_file = 'x'\n",
        "no-toml": "[server\n",
        "no-number": "a = " + "9" * 200,
        "no-depth": "a = " + "[" * 300,
    }
    return {name: text.lstrip().encode() for name, text in made.items()}
