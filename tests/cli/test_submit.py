"""`horizon submit`, as typed; submitit itself where it is installed."""

import importlib.util
import subprocess
import sys

import pytest

from harness import cli
from harness.engines import submission
from harness.engines.submission import Resources, submit
from harness.errors import CampaignError


@pytest.fixture
def horizon(monkeypatch, capsys):
    def call(*words, code=0):
        monkeypatch.setattr(sys, "argv", ["horizon", "submit", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        assert end.value.code == code, said.err
        return said.err if code == 2 else said.out

    return call


def test_each_task_has_its_part(horizon):
    said = horizon("--slurm", "--tasks", "2", "--dry-run", "--", "--suite", "drift", "--out", "c d")
    assert [line.partition(" -m ")[2] for line in said.splitlines()] == [
        f"harness.cli run --suite drift --out 'c d' --shard {number}/2" for number in (1, 2)
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--", "--suite", "drift"], "needs one of --slurm (send it) and --local"),
        (["--slurm", "--", "--shard", "1/2"], "horizon submit gives each task its --shard; leave it out"),
        (["--slurm", "--", "--suit", "drift"], "--suit"),
        (["--slurm", "--tasks", "0", "--", "--suite", "drift"], "allowed: 1 to 256"),
        (["--slurm", "--", "--suite", ""], "--suite is empty"),
    ],
)
def test_a_mistake_is_one_line(horizon, words, says):
    said = horizon(*words, code=2)
    assert says in said
    assert said.count("\n") == 1


def test_without_submitit_the_command_says_what_to_install(horizon, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    said = horizon("--slurm", "--", "--suite", "drift", code=2)
    assert said == (
        "horizon: horizon submit needs submitit, which is not installed here: pip install 'horizon-bench[slurm]'\n"
    )


def test_what_slurm_is_asked_for():
    found = Resources(gpus=2, cpus=8, hours=1.5, partition="a", at_once=3).parameters("slurm")
    assert found == {
        "name": "horizon", "timeout_min": 90, "tasks_per_node": 1, "gpus_per_node": 2, "cpus_per_task": 8,
        "slurm_partition": "a", "slurm_array_parallelism": 3,
    }  # fmt: skip
    assert Resources().parameters("local") == {"name": "horizon", "timeout_min": 1440, "tasks_per_node": 1}


@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="needs submitit; there is none here")
def test_submitit_runs_each_task(tmp_path, monkeypatch):
    code = "import sys; open(sys.argv[1], 'w').close(); sys.exit(sys.argv[1] == 'bad')"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        submission, "commands", lambda arguments, tasks: [[sys.executable, "-c", code, name] for name in ("a", "bad")]
    )
    good, bad = submit([], 2, Resources(), tmp_path / "logs", "local")
    assert good.result() == 0
    assert isinstance(bad.exception(), Exception)
    assert (tmp_path / "a").exists()
    jobs = submit([], 2, Resources(), tmp_path / "logs", "debug")
    assert jobs[0].result() == 0
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises((CampaignError, subprocess.SubprocessError), match="no job can be sent from here"):
        submit([], 2, Resources(), tmp_path / "logs", "slurm")
