"""Code that is edited between two runs, workers that die, and folders that hide the package, as a user meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from tests.plugin.acme import ROOT, horizon, install

RUN = ("run", "--backbone", "toy", "--suite", "toy", "--equal-budget", "0", "--out", "c", "--threads", "1")
BOTH = (*RUN, "--strategy", "mine", "--strategy", "sliding_window")


@pytest.fixture
def acme(tmp_path):
    return install(tmp_path / "acme")


def edit(strategy, old, new):
    text = strategy.read_text(encoding="utf-8")
    assert old in text
    strategy.write_text(text.replace(old, new), encoding="utf-8")


def records(folder):
    return {path.parent.name: path.read_text(encoding="utf-8") for path in folder.glob("c/cells/*/record.jsonl")}


def test_an_edited_strategy_is_run_again_and_nothing_else_is(acme):
    folder = acme.parent
    assert horizon(folder, *BOTH).splitlines()[-1] == "c: 4 ok"
    before = records(folder)
    # Nothing changed: nothing is run, and nothing claims that it was.
    assert horizon(folder, *BOTH).splitlines() == ["4 kept", "c: 4 ok"]
    # Prose changes nothing, nor does a new knob.
    edit(acme, "    window: latent frames.", "    window: latent frames in all.")
    edit(acme, "    window: int = 9\n", "    window: int = 9\n    depth: int = 3\n")
    assert horizon(folder, *BOTH).splitlines() == ["4 kept", "c: 4 ok"]
    edit(acme, 'window=self.window, positions="relative"', 'window=self.window - 3, positions="relative"')
    said = horizon(folder, *BOTH, "--dry-run")
    assert said.count("stale (acme_mine changed); ") == 2
    assert records(folder) == before
    said = horizon(folder, *BOTH, "--keep-stale").splitlines()
    assert said[:2] == ["4 kept", "2 of the kept cells are stale: acme_mine changed"]
    assert records(folder) == before
    assert "2 ok, 2 stale of 4 cells" in horizon(folder, "status", "c")
    said = horizon(folder, *BOTH).splitlines()
    assert said[0] == "2 kept, 2 stale: acme_mine changed"
    assert [line.split()[1] for line in said[1:-1]] == ["ok", "ok"]
    after = records(folder)
    assert set(after) == set(before)
    assert sum(after[cell] != before[cell] for cell in after) == 2


def test_a_changed_default_is_stale(acme):
    folder = acme.parent
    horizon(folder, *RUN, "--strategy", "mine")
    edit(acme, "window: int = 9", "window: int = 12")
    said = horizon(folder, *RUN, "--strategy", "mine").splitlines()
    assert said[0] == "2 stale: the default of mine.window was 9 and is 12"


DIES = """
        import os, pathlib, time
        if os.environ.get("HORIZON_RUN"):
            os.write(2, b"no memory left for me\\n")
            os._exit(3)
        if spec.device.type == "cpu":
            # Not before both workers are dead.
            logs = pathlib.Path("c/flight")
            while sum("no memory" in path.read_text() for path in logs.glob("worker-*.log")) < 2:
                time.sleep(0.05)
"""
FAILS = """
        if spec.device.type == "cpu":
            open("opened", "a").write("x")
            raise ValueError("no")
"""
OPENS = "    def open(self, spec):\n"


def test_workers_that_die_are_told_of_and_their_cells_are_taken_over(acme):
    folder = acme.parent
    edit(acme, OPENS, OPENS + DIES)
    said = horizon(folder, *BOTH, "--workers", "3", code=1)
    for number in (1, 2):
        assert f"worker {number} of 2 ended with 3: no memory left for me (its whole output is in c/flight/" in said
    assert said.splitlines()[-1] == "c: 4 ok"


def test_retries_happen_once_whoever_makes_them(acme):
    folder = acme.parent
    edit(acme, OPENS, OPENS + FAILS)
    horizon(folder, *RUN, "--strategy", "mine", code=1)
    attempts = {
        path: json.loads(path.read_text(encoding="utf-8"))["attempt"] for path in folder.glob("c/cells/*/cell.json")
    }
    (folder / "opened").unlink()
    said = horizon(folder, *RUN, "--strategy", "mine", "--retry", "failed", "--workers", "3", code=1)
    assert "2 again" in said
    again = {
        path: json.loads(path.read_text(encoding="utf-8"))["attempt"] for path in folder.glob("c/cells/*/cell.json")
    }
    assert all(again[path] != attempts[path] for path in attempts)
    assert (folder / "opened").read_text(encoding="utf-8") == "xx"


@pytest.mark.nightly
def test_a_folder_that_is_called_like_the_package_does_not_stand_in_for_it(acme):
    folder = acme.parent
    elsewhere = folder / "elsewhere"
    for name in ("harness", "strategies", "suites"):
        (elsewhere / name).mkdir(parents=True)
        (elsewhere / name / "__init__.py").write_text("raise SystemExit('the wrong one')\n", encoding="utf-8")
    words = [word if word != "toy" or number == 2 else "clock" for number, word in enumerate(RUN)]
    assert horizon(folder, *words, "--strategy", "mine", cwd=elsewhere).splitlines()[-1] == "c: 3 ok"


def test_a_folder_of_another_campaign_is_refused_by_a_dry_run_too(acme):
    folder = acme.parent
    horizon(folder, *RUN, "--strategy", "mine")
    for more in ((), ("--dry-run",)):
        said = horizon(folder, *RUN, "--strategy", "mine", "--seed", "1", *more, code=2)
        assert said == (
            "horizon: c holds another campaign: its seed is 0, not 1; "
            "give --out another folder, or move this one away\n"
        )


def test_a_newly_installed_metric_changes_no_id_and_makes_nothing_stale(acme):
    folder = acme.parent
    horizon(folder, *RUN, "--strategy", "mine")
    points = folder / "acme-1.0.dist-info" / "entry_points.txt"
    points.write_text(
        points.read_text(encoding="utf-8")
        + "[horizon.metrics]\nanother = suites.observers.picture_metrics:Sharpness\n",
        encoding="utf-8",
    )
    assert horizon(folder, *RUN, "--strategy", "mine").splitlines() == ["2 kept", "c: 2 ok"]


def test_an_old_folder_is_refused_in_one_line(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "manifest.json").write_text('{"format": 1, "name": "c"}', encoding="utf-8")
    said = horizon(tmp_path, "compare", "c", code=2)
    assert said == "horizon: c/manifest.json: format 1, this Horizon reads 2; run the campaign anew\n"


SLOW = """
    def measure(self, backbone, strategy, task, began):
        import os, pathlib, time
        mark = pathlib.Path(os.environ["MARKS"], str(os.getpid()))
        mark.touch()
        while not pathlib.Path(os.environ["MARKS"], "go").exists():
            time.sleep(0.02)
        mark.unlink()
"""


@pytest.mark.nightly
@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_what_measures_leaves_with_its_parent_and_nothing_is_measured_beside_it(acme, tmp_path, how):
    folder, marks = acme.parent, tmp_path / "marks"
    marks.mkdir()
    edit(folder / "acme_toys.py", "    def measure(self, backbone, strategy, task, began):\n", SLOW)
    words = [word if word != "toy" or number == 2 else "clock" for number, word in enumerate(RUN)]
    variables = {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))), "MARKS": str(marks)}
    command = [sys.executable, "-P", "-c", "from harness.cli import main; main()", *words, "--strategy", "mine"]
    parent = subprocess.Popen(command, cwd=folder, env=os.environ | variables, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not list(marks.iterdir()):
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (mark,) = marks.iterdir()
    child = psutil.Process(int(mark.name))
    getattr(parent, how)()
    parent.wait()
    gone, _ = psutil.wait_procs([child], timeout=60)
    assert gone
    mark.unlink()
    (marks / "go").touch()
    said = horizon(folder, *words, "--strategy", "mine", MARKS=str(marks))
    assert said.splitlines()[-1] == "c: 3 ok"
    assert not (folder / "c" / "flight" / "measuring").exists()


def test_the_environment_names_packages_of_third_parties(acme):
    folder = acme.parent
    horizon(folder, *RUN, "--strategy", "mine")
    environments = json.loads((folder / "c" / "manifest.json").read_text(encoding="utf-8"))["environments"]
    (environment,) = environments.values()
    assert environment["plugins"]["acme"]["version"] == "1.0"
    assert {"cpu", "threads", "attention", "dtype", "device", "packages", "machine"} <= environment.keys()
