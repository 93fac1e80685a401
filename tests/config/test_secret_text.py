"""Text that must not be shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from asynctls.config import SecretText, ServerConfig, read_join
from asynctls.errors import ConfigError


def test_a_secret_is_hidden_wherever_it_may_be_printed() -> None:
    config = ServerConfig(join=SecretText("hunter2"))
    for text in (str(config.join), repr(config.join), f"{config.join}", repr(config)):
        assert "hunter2" not in text
    assert config.join is not None
    assert config.join.reveal() == "hunter2"


def test_secrets_are_equal_by_their_text() -> None:
    assert SecretText("a") == SecretText("a")
    assert SecretText("a") != SecretText("b")
    assert SecretText("a") != "a"
    assert len({SecretText("a"), SecretText("a")}) == 1


def test_secrets_of_an_environment_that_is_no_text_can_be_compared() -> None:
    assert SecretText("a\udcff") == SecretText("a\udcff")
    assert SecretText("a\udcff") != SecretText("a")


def test_a_join_string_is_taken_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "join").write_text("est://x\n")
    assert read_join(None, tmp_path / "join") == SecretText("est://x")
    assert read_join(SecretText("y"), None) == SecretText("y")
    assert read_join(None, None) is None


def test_a_join_string_is_taken_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "join").write_text(" est://x \n")
    with (tmp_path / "join").open() as given:
        monkeypatch.setattr(sys, "stdin", given)
        assert read_join(None, Path("-")) == SecretText("est://x")


def test_a_standard_input_that_is_closed_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ConfigError, match="closed"):
        read_join(None, Path("-"))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b" \n", "empty"), (b"\xff", "not text"), (b"x" * 5000, "larger")],
)
def test_a_join_file_without_a_join_string_is_a_fault(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "join").write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        read_join(None, tmp_path / "join")


def test_a_missing_join_file_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"join_file .*No such file"):
        read_join(None, tmp_path / "join")
