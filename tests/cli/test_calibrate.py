"""`horizon calibrate`: the file that it makes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import cli
from strategies.forcing_kv import calibration


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int | str | None:
    monkeypatch.setattr("sys.argv", ["horizon", *words])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code


def test_it_writes_a_file_and_says_how_to_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibration.classes, "SHIPPED", tmp_path / "shipped")
    out = tmp_path / "made" / "heads.json"
    words = ("calibrate", "forcing_kv", "--rollouts", "1", "--out", str(out))
    assert command(monkeypatch, *words) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"of 16 heads are static; {out}, use it with forcing_kv.classes={out}" in told
    content = json.loads(out.read_text(encoding="utf-8"))
    assert (content["backbone"], content["num_layers"], content["num_heads"]) == ("pocket", 4, 4)
    assert not (tmp_path / "shipped").exists()
    assert command(monkeypatch, *words, "--install") == 0
    assert (tmp_path / "shipped" / "pocket.json").read_bytes() == out.read_bytes()
    assert "read by default now" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["memrope"], "memrope needs no calibration; allowed: forcing_kv"),
        (["forcing"], "no strategies entry is called 'forcing'"),
        (["forcing_kv", "--backbone", "wan-1.3b", "--device", "meta"], "device"),
        (["forcing_kv", "--rollouts", "0"], "rollouts"),
        (["forcing_kv", "--backbone", "none"], "no backbones entry is called 'none'"),
    ],
)
def test_it_refuses_in_one_line(
    words: list[str], reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "calibrate", *words) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1


def test_a_bad_file_ends_a_command_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.json"
    file.write_text(calibration.shipped("pocket").read_text(encoding="utf-8"), encoding="utf-8")
    assert command(monkeypatch, "verify", f"forcing_kv.classes={file}") == 2
    said = capsys.readouterr().err
    assert "head classes of 'pocket', not of workbench; make one for this model with horizon calibrate" in said
    assert said.count("\n") == 1
