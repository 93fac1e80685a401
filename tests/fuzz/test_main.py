"""``python -m tests.fuzz``: what it says where it cannot fuzz, and one input run again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fuzz import __main__ as fuzzing

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("text", "verdict"), [("5s", "taken"), ("5", "refused")])
def test_an_input_is_run_again_by_its_file(
    text: str, verdict: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "found").write_text(text)
    assert fuzzing.main(["durations", str(tmp_path / "found")]) == 0
    assert capsys.readouterr().out == f"{verdict}\n"


def test_where_there_is_no_atheris_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzzing, "find_spec", lambda name: None)
    assert fuzzing.main(["--seconds", "1"]) == 0
    assert "no atheris for this platform" in capsys.readouterr().err
