"""Where a viewer runs: its GPU, its share of the films, and a process on each GPU."""

import argparse
import os
import sys

import pytest

from harness.errors import CampaignError
from suites.viewers import crew
from suites.viewers.crew import add_options, placed, spread

SAYS = """
import os, sys
with open(sys.argv[1], "a") as file:
    file.write(" ".join([os.environ.get("CUDA_VISIBLE_DEVICES", "-"), *sys.argv[2:]]) + "\\n")
sys.exit(int(sys.argv[-1].startswith("2/")))
"""


@pytest.fixture(autouse=True)
def four(monkeypatch):
    monkeypatch.setattr(crew, "_gpus", lambda: 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")


def options(*words):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_options(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "variables", "expected"),
    [
        ([], {}, ("cpu", "1/1", "4,5,6,7")),
        (["--device", "cuda"], {}, ("cuda", "1/1", "4,5,6,7")),
        (["--device", "cuda:1", "--shard", "2/3"], {}, ("cuda", "2/3", "5")),
        (
            ["--device", "cuda"],
            {"SLURM_PROCID": "6", "SLURM_NTASKS": "8", "SLURM_LOCALID": "2"},
            ("cuda", "7/8", "6"),
        ),
        (["--device", "cpu"], {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, ("cpu", "2/2", "4,5,6,7")),
    ],
)
def test_a_viewer_has_its_gpu_and_its_films(monkeypatch, words, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    asked = options(*words)
    placed(asked)
    assert (asked.device, asked.shard, os.environ["CUDA_VISIBLE_DEVICES"]) == expected


def test_what_is_not_there_is_refused(monkeypatch):
    with pytest.raises(CampaignError, match="process 8 of this machine has no device of its own: 4 can be seen here"):
        placed(options("--device", "cuda:7"))
    with pytest.raises(CampaignError, match="--workers 5: 4 GPUs can be seen here; give --workers 4 or fewer"):
        spread(options("--device", "cuda", "--workers", "5"), "x", [])
    with pytest.raises(CampaignError, match="--workers 2: leave --shard out"):
        spread(options("--workers", "2", "--shard", "1/2"), "x", [])
    monkeypatch.setattr(crew, "_gpus", lambda: 0)
    with pytest.raises(CampaignError, match="--device cuda:1: 0 GPUs can be seen here"):
        placed(options("--device", "cuda:1"))
    for words in (["--device", "tpu"], ["--device", "cuda:x"], ["--workers", "0"]):
        with pytest.raises(argparse.ArgumentError):
            options(*words)


def test_a_process_on_each_gpu_has_a_part_of_the_films(tmp_path, monkeypatch):
    (tmp_path / "says.py").write_text(SAYS, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    assert spread(options(), "says", []) is None
    log = tmp_path / "log"
    words = ["--device", "cuda", "--workers", "auto"]
    # The greatest exit code counts.
    assert spread(options(*words), "says", [str(log), *words]) == 1
    said = sorted(log.read_text(encoding="utf-8").splitlines())
    assert said == [
        f"{4 + number} --device cuda --workers auto --workers 1 --shard {number + 1}/4" for number in range(4)
    ]
