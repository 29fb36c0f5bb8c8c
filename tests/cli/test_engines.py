"""`horizon run` with several workers, as typed."""

import os
import re
import subprocess
import sys

import pytest

from tests.short import MAIN, drift_of
from tests.zygote import run

RUN = ("run", "--suite", "drift", "--strategy", "memrope", "--equal-budget", "0", "--threads", "1", "--out", "c")
FEW = (
    drift_of(
        "[replace(task, frames=24, rows=task.rows[row : row + 1]) for task in whole"
        ' if task.scenario.startswith("steady") for row in range(4)]'
    )
    + MAIN
)
"""The command line with cells that take a moment."""
SPEAKS = """
import os
print("on", os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("LOCAL_RANK"), flush=True)
"""


def horizon(*arguments, cwd, code=0, program=FEW, **variables):
    done = run(["-c", program, *arguments], cwd=cwd, env=os.environ | {"COLUMNS": "120"} | variables)
    assert done.returncode == code, done.stderr or done.stdout
    return done.stderr if code == 2 else done.stdout


def records(folder):
    return {path.parent.name: path.read_bytes() for path in folder.glob("c/cells/[!.]*/record.jsonl")}


@pytest.fixture(scope="module")
def inline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inline")
    said = horizon(*RUN, "--engine", "inline", cwd=folder)
    assert "c: 4 ok" in said
    return records(folder)


def test_a_worker_a_device_makes_the_same_records(inline, tmp_path):
    said = horizon(*RUN, cwd=tmp_path, program=SPEAKS + FEW, HORIZON_PRETENDED_DEVICES="3")
    assert said.splitlines()[-1] == "c: 4 ok"
    assert records(tmp_path) == inline
    logs = [(tmp_path / f"c/flight/worker-{number}.log").read_text(encoding="utf-8") for number in (1, 2)]
    assert [log.splitlines()[0] for log in logs] == ["on 1 1", "on 2 2"]


def test_a_campaign_names_its_engine(inline, tmp_path):
    (tmp_path / "a.toml").write_text('engine = "processes"\nworkers = 2\n', encoding="utf-8")
    horizon(RUN[0], "a.toml", *RUN[1:], cwd=tmp_path)
    assert records(tmp_path) == inline
    assert (tmp_path / "c/flight/worker-1.log").exists()


NO_LOCKS = """
import errno, fcntl, os
def refused(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
fcntl.flock = refused
"""
SRUN = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "HORIZON_PRETENDED_DEVICES": "2"}


def test_tasks_of_a_job_share_a_folder_without_locks(inline, tmp_path):
    tasks = []
    for number in range(2):
        place = {"SLURM_PROCID": str(number), "SLURM_LOCALID": str(number)}
        command = [sys.executable, "-c", NO_LOCKS + SPEAKS + FEW, *RUN]
        options = {"cwd": tmp_path, "env": os.environ | SRUN | place, "encoding": "utf-8"}
        tasks.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options))
    said = [task.communicate(timeout=300) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], said
    assert [out.splitlines()[0] for out, _ in said] == ["on None None"] * 2
    assert [err.splitlines()[0].partition(";")[0] for _, err in said] == ["part 1/2", "part 2/2"]
    assert "no locks of files" in said[0][1]
    assert records(tmp_path) == inline


@pytest.mark.parametrize(
    ("variables", "arguments", "says"),
    [
        ({}, ["--shard", "5/4"], "--shard 5/4: write K/N, one of N parts, K from 1 to N, for instance 1/4"),
        ({"SLURM_PROCID": "2"}, [], "SLURM_PROCID=2 is outside its range; SLURM_NTASKS=2 allows 0 to 1"),
        ({"SLURM_PROCID": "1", "SLURM_LOCALID": "2"}, [], "process 3 of this machine has no device of its own: 2 can"),
    ],
)
def test_a_job_that_makes_no_sense_is_one_line(tmp_path, variables, arguments, says):
    said = horizon(*RUN, *arguments, cwd=tmp_path, code=2, **(SRUN | variables))
    assert says in said
    assert said.count("\n") == 1
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--workers", "3"],
            "--workers 3: 2 devices can be seen here (0, 1), and each worker needs a device",
        ),
        (["--engine", "inline", "--workers", "2"], "--engine inline is one process, not 2; give --engine processes"),
        (["--engine", "threads"], "engine = 'threads': input should be 'inline', 'processes' or 'ray'"),
        (["--workers", "some"], "'some' is neither 'auto' nor a number; allowed: 1 to 256"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, arguments, says):
    said = horizon(*RUN, *arguments, cwd=tmp_path, code=2, HORIZON_PRETENDED_DEVICES="2")
    assert says in said
    assert said.count("\n") == 1
    assert not (tmp_path / "c").exists()


def test_a_login_node_plans_for_gpus_that_it_does_not_have(tmp_path):
    words = ("run", "--suite", "drift", "--strategy", "sliding_window", "--equal-budget", "0", "--device", "cuda")
    said = horizon(*words, "--out", "c", "--dry-run", "--gpu", "A100", cwd=tmp_path)
    assert "time on one A100: the roofline's time times 2.00 (the usual factor" in said
    assert re.search(r"^4 cells, .* on disk$", said, re.MULTILINE)
    assert re.search(r"^on several devices, 1: .*, 64: ", said, re.MULTILINE)
    assert not (tmp_path / "c").exists()
    said = horizon(*words, "--out", "c", "--dry-run", "--gpu", "H101", cwd=tmp_path, code=2)
    assert said.startswith("horizon: --gpu H101: unknown (did you mean 'H100'?)")
    assert "device 'cuda' is not available" in horizon(*words, "--out", "c", cwd=tmp_path, code=2)
