"""The commands for films made elsewhere."""

import sys

import pytest

from harness.cli import main
from tests.suites import fakes
from tests.suites.filmed import write


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["horizon", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


def test_score_imports_looks_and_reports(tmp_path, monkeypatch, capsys):
    film = write(tmp_path / "a fox-0.mkv", fakes.living(0), 8)
    assert run(monkeypatch, "score", film, "--name", "theirs", "--out", tmp_path / "x") == 0
    told = capsys.readouterr()
    assert "1 films imported as theirs" in told.out
    assert "Summary measures" in told.out
    assert (tmp_path / "x" / "report.html").exists()
    assert (tmp_path / "x" / "views" / "plain").is_dir()


def test_what_cannot_be_imported_is_one_line(tmp_path, monkeypatch, capsys):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no")
    assert run(monkeypatch, "import", bad, "--out", tmp_path / "x") == 2
    told = capsys.readouterr().err.splitlines()
    assert told[-1].startswith("horizon: none of 1 films could be imported")
    film = write(tmp_path / "good.mkv", fakes.living(0)[:48], 8)
    assert run(monkeypatch, "import", bad, film, "--out", tmp_path / "x") == 1
    assert "1 refused" in capsys.readouterr().out
