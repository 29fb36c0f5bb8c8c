"""The gate's commands on finished runs: exit codes, one line for each mistake, nothing overwritten."""

import json

import numpy as np
import pytest

from harness import cli
from reports.gate.evidence import save
from tests.reports.made import MANIFEST, evidence, launches, whole


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr("sys.argv", ["horizon", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return call


@pytest.fixture
def runs(tmp_path):
    """A run, the same code again, one that is slower, one so noisy that nothing can be said, and another machine's."""
    noisy = {("memrope", "chunk_p50_ms"): [14.0, 40.0, 18.0, 33.0, 15.0, 30.0]}
    elsewhere = {**MANIFEST, "environment": {**MANIFEST["environment"], "cpu": "another"}}
    made = {
        "base": evidence(whole(1)), "same": evidence(whole(2)), "slow": evidence(whole(3, slower=("memrope",))),
        "noisy": evidence(whole(2) | noisy), "elsewhere": evidence(whole(2), elsewhere),
    }  # fmt: skip
    for name, each in made.items():
        (tmp_path / name).mkdir()
        save(each, tmp_path / name / "head.parquet")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "words", "code", "state"),
    [
        ("same", (), 0, "pass"), ("slow", (), 1, "regression"), ("noisy", (), 0, "inconclusive"),
        ("noisy", ("--strict",), 1, "inconclusive"), ("elsewhere", (), 2, "mismatch"),
    ],
)  # fmt: skip
def test_exit_codes(run, runs, name, words, code, state):
    ended, out, _ = run("gate", runs / name, "--baseline", runs / "base" / "head.parquet", *words)
    assert ended == code
    assert f"{state}: " in out
    told = json.loads((runs / name / "gate.json").read_text(encoding="utf-8"))
    assert (told["state"], told["exit_code"]) == (state, code)
    assert {path.name for path in (runs / name).iterdir()} == {
        "head.parquet",
        "gate.md",
        "gate.html",
        "gate.json",
        "junit.xml",
    }


def test_a_policy_decides(run, runs):
    policy = runs / "policy.toml"
    policy.write_text("[latency.chunk_p50_ms]\nrelative = 0.2\n", encoding="utf-8")
    words = ("gate", runs / "slow", "--baseline", runs / "base" / "head.parquet", "--policy", policy)
    assert run(*words)[0] == 0
    code, out, _ = run(*words, "--json")
    assert json.loads(out)["state"] == "pass"
    assert code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("gate", "slow", "--baseline", "none.parquet"), "no such baseline"),
        (("gate", "slow", "--baseline", "."), "no campaign there"),
        (("gate", "nothing", "--baseline", "base/head.parquet"), "no such baseline"),
        (("gate", "--against", "HEAD", "--baseline", "base/head.parquet"), "not both"),
        (("gate", "slow", "--baseline", "base/head.parquet", "--policy", "no.toml"), "cannot read"),
        (("gate", "out", "--against", "no-such-branch"), "--against no-such-branch"),
        (("baseline", "accept", "slow", "--to", "b.csv", "--why", "x"), "ends in .parquet"),
        (("baseline", "accept", "nothing", "--to", "b.parquet", "--why", "x"), "no such baseline"),
        (("baseline", "show", "none.parquet"), "no such baseline"),
        (("history", "none"), "no such folder"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(run, runs, monkeypatch, words, says):
    monkeypatch.chdir(runs)
    code, out, error = run(*words)
    assert (code, out) == (2, "")
    assert says in error
    assert error.count("\n") == 1


def test_a_baseline_moves_on_purpose(run, runs):
    file = runs / "kept.parquet"
    assert run("baseline", "accept", runs / "base", "--to", file, "--why", "first", "--who", "Ada")[0] == 0
    assert run("baseline", "accept", runs / "slow", "--to", file, "--why", "better, if slower", "--who", "Ada")[0] == 0
    _, out, _ = run("baseline", "show", file, "--json")
    assert [note["why"] for note in json.loads(out)["accepted"]] == ["first", "better, if slower"]
    assert "better, if slower" in run("baseline", "show", file)[1]
    assert run("gate", runs / "slow", "--baseline", file)[0] == 0
    assert "accepted 20" in (runs / "slow" / "gate.md").read_text(encoding="utf-8")
    file.write_bytes(file.read_bytes()[:-50])
    spoilt = file.read_bytes()
    assert run("baseline", "accept", runs / "base", "--to", file, "--why", "again")[0] == 2
    assert file.read_bytes() == spoilt


def test_noise_of_runs_that_are_there(run, tmp_path):
    for number in range(1, 4):
        folder = tmp_path / str(number)
        folder.mkdir()
        save(evidence(whole(number)), folder / "head.parquet")
        save(evidence(whole(number + 50)), folder / "base.parquet")
        (folder / "gate.json").write_text("{}", encoding="utf-8")
    code, out, _ = run("aa", tmp_path, "--runs", 3, "--gates", 20)
    assert code == 0
    assert "real gates of the same code: 3 pass" in out
    assert (tmp_path / "policy.toml").exists()
    _, out, _ = run("aa", tmp_path, "--runs", 3, "--gates", 20, "--json")
    assert json.loads(out)["gates"] == {"pass": 20}


def test_steps_over_runs(run, tmp_path):
    for number in range(10):
        values = {("memrope", "chunk_p50_ms"): launches(number, level=20 if number < 5 else 25)}
        values["memrope", "unsaid_identity"] = np.full(16, 0.9)
        save(evidence(values, {**MANIFEST, "when": f"2026-01-{number + 1:02}"}), tmp_path / f"run-{number}.parquet")
    code, out, _ = run("history", tmp_path)
    assert code == 0
    assert "run-5" in out
    assert "chunk_p50_ms" in out
    (step,) = json.loads(run("history", tmp_path, "--json")[1])["steps"]
    assert (step["run"], step["worse"]) == ("run-5", True)
    assert json.loads(run("history", tmp_path, "--json", "--metric", "drift.unsaid_identity")[1])["steps"] == []
