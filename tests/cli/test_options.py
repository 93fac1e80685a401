"""Options come from the config's tables, and keep its order: command line, environment, file."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click
import pytest

from asynctls.cli.options import COMMON, DURATION, config_beside, config_of, role_options
from asynctls.config import Address, ServerConfig, TTPConfig, settings
from asynctls.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@click.group(invoke_without_command=True)
@role_options(ServerConfig)
@click.pass_context
def daemon(context: click.Context, /, **_given: object) -> ServerConfig | None:
    return config_of(ServerConfig) if context.invoked_subcommand is None else None


@daemon.command
@role_options(ServerConfig, only=COMMON)
def verb(**_given: object) -> ServerConfig:
    return config_of(ServerConfig)


def configured(*words: str) -> ServerConfig:
    config = daemon.main(list(words), standalone_mode=False)
    assert isinstance(config, ServerConfig)
    return config


def test_each_setting_is_an_option() -> None:
    options = {option for parameter in daemon.params for option in parameter.opts}
    assert options == {setting.option for setting in settings(ServerConfig)} | {"--config"}


def test_a_verb_takes_state_config_and_log_format() -> None:
    options = {option for parameter in verb.params for option in parameter.opts}
    assert options == {"--state", "--log-format", "--config"}


def test_what_is_given_is_read_as_its_type() -> None:
    config = configured("--listen", "[::1]:0", "--drain", "5s", "--allow", "a", "--allow", "*.b")
    assert config.listen == Address("::1", 0)
    assert config.drain == timedelta(seconds=5)
    assert config.allow == ("a", "*.b")


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "server.toml"
    path.write_text('[server]\nlisten = "127.0.0.1:1"\ndrain = "1s"\nmessage = "file"\n')
    monkeypatch.setenv("ASYNCTLS_DRAIN", "2s")
    monkeypatch.setenv("ASYNCTLS_MESSAGE", "environment")
    config = configured("--config", str(path), "--message", "command line")
    assert config.listen.port == 1
    assert config.drain == timedelta(seconds=2)
    assert config.message == "command line"


def test_what_stands_before_a_verb_counts_for_it_and_less_than_what_stands_after(
    tmp_path: Path,
) -> None:
    before, after = str(tmp_path / "before"), str(tmp_path / "after")
    assert str(configured("--state", before, "verb").state) == before
    assert str(configured("--state", before, "verb", "--state", after).state) == after


def test_all_faults_are_found_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        configured("--listen", "nowhere", "--drain", "long", "--handshakes", "0")
    assert {fault.key for fault in raised.value.faults} == {
        "server.listen",
        "server.drain",
        "server.handshakes",
    }
    assert {fault.source for fault in raised.value.faults} == {
        "--listen",
        "--drain",
        "--handshakes",
    }


def test_a_join_string_on_the_command_line_is_not_quoted_back() -> None:
    config = configured("--join", "est://id:very-secret@h:1#sha256=00")
    assert "very-secret" not in repr(config)


@pytest.mark.parametrize("text", ["", "0s", "soon", "-5s"])
def test_a_duration_that_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.BadParameter):
        DURATION.convert(text, None, None)


def test_a_duration_is_read() -> None:
    assert DURATION.convert("1h30m", None, None) == timedelta(minutes=90)


def test_another_roles_settings_come_from_the_same_file_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "asynctls.toml"
    file.write_text(
        '[server]\ndrain = "5s"\n[ttp]\nstate = "elsewhere"\nkey_passphrase_file = "passphrase"\n'
    )
    monkeypatch.setenv("ASYNCTLS_CRL_LIFETIME", "2h")

    @click.command
    @role_options(ServerConfig)
    def beside(**_given: object) -> TTPConfig:
        return config_beside(TTPConfig, state=tmp_path / "here")

    config = beside.main(["--config", str(file)], standalone_mode=False)
    assert config.state == tmp_path / "here"
    assert config.key_passphrase_file is not None
    assert config.key_passphrase_file.name == "passphrase"
    assert config.crl_lifetime == timedelta(hours=2)
