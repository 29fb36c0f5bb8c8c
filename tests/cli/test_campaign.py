"""`horizon run`, `horizon compare` and `horizon merge`, as typed."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.killing import interruptible
from tests.short import MAIN, UNDRAWN, drift_of
from tests.zygote import run

DRIFT = drift_of(
    '[replace(task, frames=36, rows=task.rows[:3]) for task in whole if task.scenario == "steady"] + '
    '[replace(task, frames=60, rows=task.rows[:1]) for task in whole if task.scenario == "occlusion"]'
)
DRAWN, QUICK = DRIFT + MAIN, UNDRAWN + DRIFT + MAIN
ARMS = ("--suite", "drift", "--strategy", "sliding_window", "--strategy", "memrope")


def command(*arguments, program=QUICK):
    return [sys.executable, "-c", program, *arguments]


def horizon(*arguments, cwd, code=0, program=QUICK):
    done = run(command(*arguments, program=program)[1:], cwd=cwd, env=os.environ | {"COLUMNS": "120"})
    assert done.returncode == code, done.stderr or done.stdout
    return done.stderr if code == 2 else done.stdout


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("campaign")
    return folder, horizon("run", *ARMS, "--out", "c", "--threads", "1", cwd=folder)


def test_a_run_says_a_line_a_cell_and_a_second_one_does_nothing(ran):
    folder, said = ran
    assert said.splitlines()[0] == "1/5 ok sliding_window steady 36"
    assert said.splitlines()[-1] == "c: 5 ok"
    manifest = json.loads((folder / "c/manifest.json").read_text(encoding="utf-8"))
    assert len(manifest["asked"]["cells"]) == 5
    assert [manifest["environments"][run["environment"]]["threads"] for run in manifest["runs"]] == [1]
    before = {path: path.stat().st_mtime_ns for path in (folder / "c/cells").rglob("*")}
    assert horizon("run", *ARMS, "--out", "c", "--threads", "1", cwd=folder).splitlines()[-1] == "c: 5 ok"
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "c/cells").rglob("*")}


@pytest.mark.nightly
def test_workers_share_the_cells_and_the_records_are_the_same(ran, tmp_path):
    folder, _ = ran
    said = horizon("run", *ARMS, "--out", "c", "--threads", "1", "--workers", "3", cwd=tmp_path)
    assert said.splitlines()[-1] == "c: 5 ok"
    cells = sorted(path.name for path in (folder / "c/cells").iterdir())
    assert sorted(path.name for path in (tmp_path / "c/cells").iterdir()) == cells
    for cell in cells:
        one, other = (home / "c/cells" / cell / "record.jsonl" for home in (folder, tmp_path))
        assert one.read_bytes() == other.read_bytes()


def test_compare_shows_tables_and_writes_the_page(ran):
    folder, _ = ran
    said = horizon("compare", "c", cwd=folder)
    assert "as published" in said
    assert "equal budget" in said
    assert "memrope.window=14" in said
    assert said.splitlines()[-1] == "c/report.html"
    written = json.loads(horizon("compare", "c", "--json", cwd=folder, program=DRAWN))["written"]
    assert {"c/report.html", "c/report.md", "c/table.csv", "c/records.parquet"} <= set(written)
    assert all((folder / path).stat().st_size > 1000 for path in written)


def test_tables_fit_eighty_columns(ran, monkeypatch):
    folder, _ = ran
    for columns in ("80", "60"):
        monkeypatch.setenv("COLUMNS", columns)
        said = run(command("compare", "c")[1:], cwd=folder, env=os.environ | {"COLUMNS": columns}).stdout
        assert max(len(line.rstrip()) for line in said.splitlines()) <= int(columns)
        assert "n=3" in said
        assert re.search(r"^ +\[\d\.\d\d, \d\.\d\d\]", said, re.MULTILINE)
        assert "pairwise wins, as published" in said
        assert "memrope.window=14" in said


def test_another_baseline_and_another_place(ran, tmp_path):
    folder, _ = ran
    said = horizon("compare", "c", "--baseline", "memrope", "--out", str(tmp_path / "r"), cwd=folder)
    assert "worse than memrope in the same table" in " ".join(said.split())
    assert said.splitlines()[-1].endswith("r/report.html")
    assert (tmp_path / "r/pairs.csv").exists()
    assert not (tmp_path / "r/manifest.json").exists()
    said = horizon("compare", "c", "--baseline", "attention_sink", cwd=folder, code=2)
    assert said == (
        "horizon: --baseline attention_sink: no arm has this name; there are: sliding_window, memrope, "
        "memrope.window=14\n"
    )


def test_a_run_keeps_what_it_is_to_be_compared_with(ran, tmp_path):
    folder, _ = ran
    subprocess.run(["cp", "-r", folder / "c", tmp_path / "c"], check=True)
    options = [*ARMS, "--out", "c", "--threads", "1", "--baseline"]
    horizon("run", *options, "memrope", cwd=tmp_path)
    assert json.loads((tmp_path / "c/manifest.json").read_text(encoding="utf-8"))["asked"]["baseline"] == "memrope"
    assert "worse than memrope in" in " ".join(horizon("compare", "c", cwd=tmp_path).split())
    # Without the option it stays what it was, and a name that no arm has is refused before anything runs.
    horizon("run", *ARMS, "--out", "c", "--threads", "1", cwd=tmp_path)
    assert json.loads((tmp_path / "c/manifest.json").read_text(encoding="utf-8"))["asked"]["baseline"] == "memrope"
    said = horizon("run", *ARMS, "--out", "none", "--baseline", "memrop", cwd=tmp_path, code=2)
    assert "--baseline memrop: no arm has this name (did you mean 'memrope'?); there are: sliding_window, " in said
    assert not (tmp_path / "none").exists()


@pytest.mark.nightly
def test_seeds_go_together(ran, tmp_path):
    folder, _ = ran
    other = tmp_path / "other"
    horizon("run", *ARMS, "--seed", "1", "--out", str(other), "--threads", "1", cwd=folder)
    said = horizon("compare", "c", str(other), "--out", str(tmp_path / "both"), cwd=folder)
    assert "n=6" in said
    said = horizon("compare", "c", "c", cwd=folder, code=2)
    assert said.startswith("horizon: c and c are both of seed 0: no rollout may count twice")


@pytest.mark.nightly
def test_several_seeds_in_one_folder(ran, tmp_path):
    """One of a seed goes on with more; its report counts them all."""
    folder, _ = ran
    subprocess.run(["cp", "-r", folder / "c", tmp_path / "c"], check=True)
    said = horizon("run", *ARMS, "--seeds", "2", "--out", "c", "--threads", "1", cwd=tmp_path)
    assert said.splitlines()[0] == "5 kept, 5 new"
    assert said.splitlines()[-1] == "c: 10 ok"
    # What is there is a campaign of these seeds, whatever is asked for next.
    assert "5 kept" in horizon("run", *ARMS, "--out", "c", "--threads", "1", cwd=tmp_path)
    asked = json.loads((tmp_path / "c/manifest.json").read_text(encoding="utf-8"))["asked"]
    assert (asked["seed"], asked["seeds"], len(asked["cells"])) == (0, [0, 1], 10)
    assert "n=6" in horizon("compare", "c", cwd=tmp_path)
    assert "seeds 0, 1" in (tmp_path / "c/report.md").read_text(encoding="utf-8")


def test_seeds_that_a_folder_or_a_file_does_not_have(ran, tmp_path):
    folder, _ = ran
    other = horizon("run", *ARMS, "--seed", "1", "--seeds", "2", "--out", "c", cwd=folder, code=2)
    assert "c holds another campaign: its seed is 0, not 1" in other
    (tmp_path / "l.toml").write_text("seeds = [1, 2]\n", encoding="utf-8")
    said = horizon("run", "l.toml", *ARMS, "--seed", "3", cwd=tmp_path, code=2)
    assert said == "horizon: --seed 3: l.toml lists its seeds; give --seeds too, to count from this seed\n"


def test_a_strategy_can_be_added_later(ran, tmp_path):
    folder, _ = ran
    subprocess.run(["cp", "-r", folder / "c", tmp_path / "c"], check=True)
    said = horizon(
        "run", "--suite", "drift", "--strategy", "attention_sink", "--out", "c", "--threads", "1", cwd=tmp_path
    )
    assert said.splitlines()[-1] == "c: 2 ok"
    horizon("compare", "c", cwd=tmp_path)
    assert "| attention_sink |" in (tmp_path / "c/report.md").read_text(encoding="utf-8")
    assert "| memrope |" in (tmp_path / "c/report.md").read_text(encoding="utf-8")


def test_a_dry_run_lists_the_cells_and_leaves_nothing(ran, tmp_path):
    folder, _ = ran
    said = horizon("run", *ARMS, "--out", "none", "--dry-run", cwd=tmp_path)
    assert said.count("occlusion") == 2
    assert "5 cells, about" in said
    assert list(tmp_path.iterdir()) == []
    assert "5 cells, about 0.0 minutes and 0 MB" in horizon("run", *ARMS, "--out", "c", "--dry-run", cwd=folder)


def test_what_is_not_at_the_equal_budget_is_said_before_anything_runs(tmp_path):
    arguments = ("run", "--suite", "drift", "--strategy", "full", "--out", "c")
    done = run(command(*arguments, "--dry-run")[1:], cwd=tmp_path)
    assert "full is not at the equal budget: Full keeps every frame" in done.stderr
    assert "Full keeps" not in horizon(*arguments, "--equal-budget", "0", "--dry-run", cwd=tmp_path)


@pytest.mark.parametrize("window", ["3", "37", "1000000000"])
def test_a_budget_that_makes_no_sense_is_one_line(tmp_path, window):
    said = horizon("run", "--equal-budget", window, "--out", "c", cwd=tmp_path, code=2)
    assert said == (
        f"horizon: equal_budget = {window}: a dense window of pocket has 4 to 36 latent frames, its chunk included and "
        "no more than it was trained for; 0 leaves that table out\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_machines_go_together(ran, tmp_path):
    folder, _ = ran
    horizon("run", "--suite", "drift", "--strategy", "sliding_window", "--out", "other", "--threads", "1", cwd=folder)
    said = horizon("merge", str(tmp_path / "all"), "c", "other", cwd=folder)
    assert said.strip().endswith(": 5 cells came")


def test_ctrl_c_keeps_what_is_there_and_says_stopped(tmp_path):
    options = ["run", *ARMS, "--out", "c", "--threads", "1", "--save-every", "0"]
    process = interruptible(command(*options), tmp_path)
    assert process.stdout.readline().startswith("1/5 ok")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines() == ["horizon: stopped; the same command continues from here"]
    assert "as published" in horizon("compare", "c", cwd=tmp_path)


@pytest.mark.nightly
def test_ctrl_c_twice_stops_at_once_without_a_traceback(tmp_path):
    options = ["run", *ARMS, "--out", "c", "--threads", "1", "--workers", "2"]
    process = interruptible(command(*options), tmp_path)
    assert process.stdout.readline().startswith("1/5 ok")
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    told = [line for line in err.splitlines() if not line.endswith(" left")]
    assert told in ([], ["horizon: stopped; the same command continues from here"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "none.toml"], "cannot read none.toml: No such file or directory"),
        (["run", "--tier", "huge"], "suite drift has no tier 'huge'; allowed: gate, quick, full, long, day"),
        (["run", "--suite", "drfit"], "no suites entry is called 'drfit'; did you mean 'drift'?"),
        (["run", "--strategy", "memrop"], "did you mean 'memrope'"),
        (["run", "--strategy", "memrope.sink=x"], "knob sink = 'x' is not allowed"),
        (
            ["run", "--backbone", "wan-1.3b", "--device", "meta"],
            "device 'meta' holds shapes and no numbers; allowed: cpu, cuda",
        ),
        (["run", "--retry", "bad"], "--retry bad: allowed: ok, oom, nan, timeout, skipped, failed"),
        (["run", "--device", "mps9"], "device 'mps9' is not available"),
        (["run", "--out", "/proc/none"], "cannot write to /proc/none"),
        (["compare", "nowhere"], "no campaign there; make one with: horizon run"),
        (["merge", "all", "nowhere"], "no campaign there; make one with: horizon run"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, arguments, says):
    said = horizon(*arguments, cwd=tmp_path, code=2)
    assert says in said
    assert said.count("\n") == 1
    assert said.startswith("horizon: ")
