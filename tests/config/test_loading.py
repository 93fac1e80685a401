"""Where values come from, which one wins, and that every fault is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from asynctls.config import (
    TABLES,
    Address,
    ClientConfig,
    IdentityConfig,
    RoleConfig,
    SecretText,
    ServerConfig,
    TTPConfig,
    check_file,
    load,
    settings,
    state_folder,
)
from asynctls.errors import ConfigError, Fault

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "a.toml"
        path.write_text(text)
        path.chmod(0o600)
        return path

    return write


def problems(faults: tuple[Fault, ...]) -> dict[str, str]:
    assert len({fault.key for fault in faults}) == len(faults)
    return {fault.key: fault.problem for fault in faults}


@pytest.mark.parametrize("kind", TABLES.values())
def test_with_nothing_given_everything_is_the_default(kind: type[RoleConfig]) -> None:
    assert load(kind, path=None, overrides={}, environ={}) == kind()


def test_the_defaults_are_those_of_the_commands() -> None:
    assert TTPConfig().listen == Address("127.0.0.1", 8440)
    assert ServerConfig().listen == ClientConfig().connect == Address("127.0.0.1", 8443)
    assert TTPConfig().state == state_folder("ttp")
    assert state_folder("server").parts[-2:] == ("asynctls", "server")
    assert IdentityConfig().state is None


def test_the_command_line_wins_over_environment_file_and_default(write: Write) -> None:
    path = write('[server]\nlisten = "h:1"\nhandshakes = 3\nmessage = "file"\ndrain = "1s"\n')
    config = load(
        ServerConfig,
        path=path,
        overrides={"listen": "h:3", "handshakes": None, "allow": ()},
        environ={"ASYNCTLS_LISTEN": "h:2", "ASYNCTLS_HANDSHAKES": "4", "ASYNCTLS_MESSAGE": ""},
    )
    assert config.listen == Address("h", 3)
    assert config.handshakes == 4
    assert config.message == "file"
    assert config.drain == timedelta(seconds=1)
    assert config.key_type == "rsa-2048"


def test_values_that_are_typed_already_are_taken_as_they_are() -> None:
    config = load(
        ClientConfig,
        path=None,
        overrides={
            "connect": Address("h", 1),
            "connect_timeout": timedelta(seconds=3),
            "json": True,
            "join": SecretText("s"),
            "state": Path("/s"),
        },
        environ={},
    )
    assert config.connect == Address("h", 1)
    assert config.connect_timeout == timedelta(seconds=3)
    assert config.json is True
    assert config.join == SecretText("s")
    assert config.state == Path("/s")


def test_lists_in_the_environment_stand_between_commas() -> None:
    config = load(
        ServerConfig, path=None, overrides={}, environ={"ASYNCTLS_ALLOW": "client, *.example.org,"}
    )
    assert config.allow == ("client", "*.example.org")


def test_the_config_file_can_come_from_the_environment(write: Write) -> None:
    path = write("[server]\nhandshakes = 3\n")
    config = load(ServerConfig, path=None, overrides={}, environ={"ASYNCTLS_CONFIG": str(path)})
    assert config.handshakes == 3


def test_relative_paths_of_a_file_are_relative_to_it(write: Write, tmp_path: Path) -> None:
    path = write('[server]\nstate = "s"\njoin_file = "../j"\n[client]\nstate = "/s"\n')
    config = load(ServerConfig, path=path, overrides={}, environ={})
    assert config.state == tmp_path / "s"
    assert config.join_file == tmp_path / "../j"
    assert load(ClientConfig, path=path, overrides={}, environ={}).state == Path("/s")
    override = load(ServerConfig, path=path, overrides={"state": "t"}, environ={})
    assert override.state == Path("t")


def test_a_home_folder_and_standard_input_are_meant_in_paths(write: Write) -> None:
    path = write('[server]\nstate = "~/s"\njoin_file = "-"\n')
    config = load(ServerConfig, path=path, overrides={}, environ={})
    assert config.state == Path.home() / "s"
    assert config.join_file == Path("-")


def test_every_fault_is_told_with_its_key_and_its_source(write: Write) -> None:
    path = write('[ttp]\nhandshakes = "many"\ndrain = 5\nwrong = 1\n[cilent]\n')
    with pytest.raises(ConfigError) as refused:
        load(
            TTPConfig,
            path=path,
            overrides={"root_key_type": "dsa"},
            environ={"ASYNCTLS_LISTEN": "nowhere"},
        )
    assert {(fault.key, fault.source) for fault in refused.value.faults} == {
        ("cilent", str(path)),
        ("ttp.handshakes", str(path)),
        ("ttp.drain", str(path)),
        ("ttp.wrong", str(path)),
        ("ttp.listen", "ASYNCTLS_LISTEN"),
        ("ttp.root_key_type", "--root-key-type"),
    }
    assert "unknown table; did you mean client?" in str(refused.value)
    assert "one of rsa-2048, rsa-3072" in str(refused.value)


def test_another_role_s_faults_do_not_stop_a_role(write: Write) -> None:
    path = write('[ttp]\nlisten = "nowhere"\n[server]\nhandshakes = 3\n')
    assert load(ServerConfig, path=path, overrides={}, environ={}).handshakes == 3
    assert [fault.key for fault in check_file(path)] == ["ttp.listen"]


def test_an_option_that_no_table_has_is_the_caller_s_mistake() -> None:
    with pytest.raises(KeyError):
        load(ServerConfig, path=None, overrides={"nonsense": 1}, environ={})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("handshakes = 0", "0 is not usable: it is 1 at the least"),
        ("handshakes = 10001", "10000 at the most"),
        ("handshakes = true", "a whole number"),
        ("handshakes = 1.5", "a whole number"),
        ("handshakes = 99999999999999999999999", "10000 at the most"),
        ("max_message = 1073741825", "1073741824 at the most"),
        ("max_message = 0", "1 at the least"),
        ('handshake_timeout = "0s"', "1s at the least"),
        ('handshake_timeout = "2h"', "1h at the most"),
        ('handshake_timeout = "soon"', "a duration is written"),
        ("handshake_timeout = 10", "a text in quotes is wanted, not a number"),
        ("handshake_timeout = 2020-01-01", "not a date or time"),
        ("handshake_timeout = {}", "not a table"),
        ("handshake_timeout = []", "not a list"),
        ("handshake_timeout = false", "not true or false"),
        ('listen = "localhost:65536"', "0 to 65535"),
        ("listen = 8443", "a text in quotes"),
        ('listen = ""', "empty"),
        ("message = 5", "a text in quotes"),
        ("allow = 5", "a list of texts"),
        ('allow = "client"', "a list of texts"),
        ("allow = [1]", "a list of texts"),
        ('app = "mesage"', "one of message, echo, forward:HOST:PORT"),
        ('app = "my-module:app"', "module:callable"),
        ('app = "module:"', "module:callable"),
        ('app = "module:app:more"', "module:callable"),
        (
            'message = "for {nobody}"',
            "{nobody} is not known as it stands there: what",
        ),
        ('message = "{name!r}"', "{name} is not known as it stands there"),
        ('message = "{otp:>9}"', "{otp} is not known as it stands there"),
        ('message = "a { alone"', "a brace of the text itself is doubled"),
        ('message = "a } alone"', "a brace stands alone"),
        ('state = ""', "empty"),
        ('state = "a\\u0000b"', "zero byte"),
        ('state = "~no-such-user-here/x"', "home folder"),
        ('app = "forward:unix:~no-such-user-here/x"', "home folder"),
        ("join = 5", "not usable: a text in quotes"),
    ],
)
def test_a_value_that_cannot_be_is_told_in_words(write: Write, line: str, words: str) -> None:
    found = problems(check_file(write(f"[server]\n{line}\n")))
    assert list(found) == [f"server.{line.split(' ', maxsplit=1)[0]}"]
    assert words in next(iter(found.values()))


def test_a_client_cannot_connect_to_port_0(write: Write) -> None:
    found = problems(check_file(write('[client]\nconnect = "h:0"\n')))
    assert "the port is 1 at the least" in found["client.connect"]


def test_values_are_held_against_one_another(write: Write) -> None:
    text = '[ttp]\nroot_lifetime = "1d"\ncrl_interval = "24h"\nissuing_lifetime = "2d"\n'
    found = problems(check_file(write(text)))
    assert found == {
        "ttp.issuing_lifetime": "must not be longer than root_lifetime (24h)",
        "ttp.crl_interval": "must be shorter than crl_lifetime (24h)",
    }


@pytest.mark.parametrize("table", ["ttp", "server"])
def test_one_address_cannot_be_given_more_connections_than_there_are(
    write: Write, table: str
) -> None:
    limits = "max_connections = {}\nmax_connections_per_address = {}\n"
    found = problems(check_file(write(f"[{table}]\n" + limits.format(10, 11))))
    assert found == {
        f"{table}.max_connections_per_address": "must not be more than max_connections (10)"
    }
    assert check_file(write(f"[{table}]\n" + limits.format(10, 10))) == ()


@pytest.mark.parametrize(
    "url",
    [
        "https://ca.example.org",
        "http://ca.example.org/",
        "http://ca.example.org/crl?of=us",
        "http://",
        "http://user@ca.example.org",
        "ca.example.org",
        "http://ca.example.org\n",
    ],
)
def test_a_url_for_every_certificate_is_looked_at_twice(write: Write, url: str) -> None:
    found = problems(check_file(write(f"[ttp]\nstatus_url = {url!a}\n".replace("'", '"'))))
    assert "http://ca.example.org:8441/pki" in found["ttp.status_url"]


@pytest.mark.parametrize(
    "url", ["http://ca.example.org", "http://10.0.0.1:8441/pki/2", "http://[fe80::1]:80"]
)
def test_a_public_url_is_plain_http(write: Write, url: str) -> None:
    assert check_file(write(f'[ttp]\nstatus_url = "{url}"\n')) == ()


def test_a_value_of_the_command_line_can_disagree_with_a_default() -> None:
    with pytest.raises(ConfigError, match=r"ttp\.issuing_lifetime \(default\): must not be longer"):
        load(TTPConfig, path=None, overrides={"root_lifetime": "5s"}, environ={})


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("[server]\nhandshake_timout = 1", "server.handshake_timout", "mean handshake_timeout?"),
        ("[server]\nhandshake-timeout = 1", "server.handshake-timeout", "mean handshake_timeout?"),
        ("[server]\nroot_lifetime = 1", "server.root_lifetime", "belongs in [ttp]"),
        ("[server]\nzzz = 1", "server.zzz", "unknown key"),
        ("[sever]\n", "sever", "did you mean server?"),
        ("[zzz]\n", "zzz", "unknown table"),
        ('listen = "h:1"', "listen", "outside any table; it belongs in [ttp] or [server]"),
        ("zzz = 1", "zzz", "outside any table"),
        ("server = 1", "server", "begins with the line [server]"),
        ("[server]\na = ?", "config", "is not TOML: Invalid value (at line 2, column 5)"),
    ],
)
def test_a_misplaced_word_is_named_and_the_right_one_proposed(
    write: Write, text: str, key: str, words: str
) -> None:
    found = problems(check_file(write(text)))
    assert list(found) == [key]
    assert words in found[key]


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    assert "No such file" in problems(check_file(tmp_path / "a"))["config"]
    assert "directory" in problems(check_file(tmp_path))["config"]
    (tmp_path / "b").write_bytes(b"# \xff")
    assert "byte 2 is not UTF-8" in problems(check_file(tmp_path / "b"))["config"]
    with pytest.raises(ConfigError, match="No such file"):
        load(ServerConfig, path=tmp_path / "a", overrides={}, environ={})


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 5000])
def test_a_file_that_breaks_the_parser_is_a_fault(write: Write, value: str) -> None:
    (fault,) = check_file(write(f"[server]\nhandshakes = {value}\n"))
    assert fault.key == "config"
    assert "is not TOML" in fault.problem


def test_a_join_string_in_a_file_that_others_can_read_is_a_fault_and_not_quoted(
    write: Write,
) -> None:
    path = write('[server]\njoin = "est://hunter2"\n')
    assert check_file(path) == ()
    config = load(ServerConfig, path=path, overrides={}, environ={})
    assert config.join == SecretText("est://hunter2")
    path.chmod(0o640)
    (fault,) = check_file(path)
    assert fault.key == "server.join"
    assert "chmod 600" in fault.problem
    assert "hunter2" not in str(fault)


def test_a_secret_of_the_wrong_type_is_not_quoted(write: Write) -> None:
    (fault,) = check_file(write('[server]\njoin = ["hunter2"]\n'))
    assert "hunter2" not in str(fault)


def test_a_join_string_and_its_file_are_two_ways_for_one_thing(write: Write) -> None:
    path = write('[server]\njoin_file = "f"\n')
    config = load(ServerConfig, path=path, overrides={}, environ={"ASYNCTLS_JOIN": "s"})
    assert (config.join, config.join_file) == (SecretText("s"), None)
    config = load(
        ServerConfig, path=None, overrides={"join_file": "f"}, environ={"ASYNCTLS_JOIN": "s"}
    )
    assert (config.join, config.join_file) == (None, Path("f"))
    found = problems(check_file(write('[server]\njoin_file = "f"\njoin = "s"\n')))
    assert list(found) == ["server.join", "server.join_file"]


def test_a_session_is_asked_for_by_tunnels_alone(write: Write) -> None:
    found = problems(check_file(write('[server]\napp = "echo"\nsession = true\n')))
    assert "the app echo has sessions" in found["server.session"]
    found = problems(check_file(write("[client]\nsession = true\n")))
    assert "is for a tunnel" in found["client.session"]
    tunnel = '[[server.tunnel]]\nlisten = "h:1"\napp = "forward:h:2"\n'
    assert check_file(write(f'[server]\nsession = true\nallow = ["a"]\n{tunnel}')) == ()


@pytest.mark.parametrize(
    "setting", ["json = true", "follow = true", 'send = "-"', "explain = true"]
)
def test_a_tunnel_takes_nothing_that_is_for_messages(write: Write, setting: str) -> None:
    name = setting.partition(" ")[0]
    (key,) = problems(check_file(write(f'[client]\nlisten = "h:1"\n{setting}\n')))
    assert key == f"client.{name}"
    beside = f'[client]\n{setting}\n[[client.tunnel]]\nlisten = "h:1"\nconnect = "h:2"\n'
    assert f"client.{name}" in problems(check_file(write(beside)))


@pytest.mark.parametrize("kind", TABLES.values())
def test_every_setting_has_an_option_a_variable_and_words(kind: type[RoleConfig]) -> None:
    names = [name for name in kind.__struct_fields__ if name != "tunnel"]
    assert [setting.name for setting in settings(kind)] == names
    for setting in settings(kind):
        assert setting.about.words
        assert setting.option == f"--{setting.name}".replace("_", "-")
        assert setting.variable == f"ASYNCTLS_{setting.name}".upper()
        default = getattr(kind(), setting.name)
        if setting.default and not setting.repeated:
            assert setting.read(setting.default) == default


def test_a_setting_tells_the_command_line_what_it_is() -> None:
    server = {setting.name: setting for setting in settings(ServerConfig)}
    client = {setting.name: setting for setting in settings(ClientConfig)}
    assert [name for name, setting in server.items() if setting.repeated] == ["allow"]
    assert [name for name, setting in server.items() if setting.secret] == ["join"]
    assert [name for name, setting in client.items() if setting.flag] == [
        "json",
        "follow",
        "explain",
        "session",
    ]
    assert server["log_format"].choices == ("auto", "console", "json")
    assert server["listen"].choices == ()
