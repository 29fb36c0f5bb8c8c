"""A third party's package: installed by pip, found by its entry point, verified; and the ways that goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import registry
from tests import zygote
from tests.lanes import pushed
from tests.short import MAIN, UNDRAWN, drift_of

EXAMPLE = Path(__file__).parent / "example"
SHORT = drift_of('[replace(task, frames=36, rows=task.rows[:3]) for task in whole if task.scenario == "steady"]') + MAIN


def run(folder: Path, *argv: str, code: str = MAIN) -> subprocess.CompletedProcess[str]:
    """The command line, where the packages in `folder` are installed too."""
    # From another directory, so that nothing is found because it happens to lie where the tests run.
    return zygote.run(["-c", code, *argv], cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)})


def distribution(folder: Path, name: str, entry: str, modules: dict[str, str]) -> None:
    """What pip leaves behind of a package that registers one strategy."""
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
    metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[horizon.strategies]\n{entry}\n", encoding="utf-8")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip installed the example."""
    source, target = tmp_path_factory.mktemp("source") / "example", tmp_path_factory.mktemp("target")
    shutil.copytree(EXAMPLE, source)  # a build leaves files beside what it builds
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*command, "--target", target, source], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_plugin_is_listed_beside_the_shipped_ones(installed: Path) -> None:
    done = run(installed, "list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    listed = {about["name"]: about for about in json.loads(done.stdout)["strategies"]}
    assert {"attention_sink", "full", "memrope"} <= listed.keys()
    mine = listed["every_other"]
    assert mine["paper"] == "https://arxiv.org/abs/2004.05150"
    assert mine["about"] == "A window that looks back almost twice as far as it has room for."
    assert mine["knobs"] == {
        "recent": {"default": 3, "allowed": "int >= 1"},
        "thinned": {"default": 6, "allowed": "int >= 0"},
    }


def test_plugin_keeps_every_invariant(installed: Path) -> None:
    done = run(installed, "verify", "every_other", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert {finding["state"] for finding in json.loads(done.stdout)["findings"]} == {"pass"}


WINDOW = """
from dataclasses import dataclass, replace

from harness.memory.budget import nearest
from harness.memory.frames import FrameCache, window_bytes
from harness.memory import Strategy


@dataclass(frozen=True, kw_only=True)
class Silent(Strategy):
    paper = "https://arxiv.org/abs/2506.08009"
    room: int = 6

    def open(self, spec):
        return FrameCache(spec, window=self.room + spec.chunk, positions="relative")

    def footprint(self, spec, frames):
        return window_bytes(spec, self.room + spec.chunk, frames)


class Spoken(Silent):
    def at_budget(self, spec, budget):
        return nearest(lambda room: replace(self, room=room), 30, spec, budget)
"""
ARMS = """
import sys

from harness import registry
from harness.campaign import arms, make_campaign

for arm in arms(make_campaign({"strategies": sys.argv[1:]}), registry.backbone("pocket")):
    print(arm.label, ", ".join(arm.tables), arm.budget_bytes, arm.budget_note, sep=" | ")
"""


def held(frames: int) -> int:
    """Bytes of latent frames in the cache of the pocket."""
    spec = registry.backbone("pocket").memory_spec()
    return spec.bytes(frames * spec.frame_tokens)


def arms(folder: Path, *strategies: str) -> list[str]:
    """The arms of a campaign of these strategies, a line each."""
    done = zygote.run(["-c", ARMS, *strategies], cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)})
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_plugin_that_says_how_it_is_resized_stands_at_the_equal_budget(installed: Path) -> None:
    assert arms(installed, "every_other", "every_other.recent=6,thinned=12") == [
        f"every_other | as published, equal budget | {held(9)} | None",
        "every_other.recent=6,thinned=12 | as published | None | None",
    ]


def test_plugin_that_says_what_it_is_at_a_budget_stands_there_and_one_that_does_not_is_named(tmp_path: Path) -> None:
    entries = "silent = theirs:Silent\nspoken = theirs:Spoken"
    distribution(tmp_path, "acme-memory", entries, {"theirs": WINDOW})
    assert arms(tmp_path, "spoken", "silent") == [
        "spoken | as published | None | None",
        f"spoken.room=9 | equal budget | {held(9)} | None",
        f"silent | as published | {held(9)} | Silent holds {held(6) / 1000:.0f} kB and does not say what it is at "
        "other bytes; it can, by a method resized or at_budget of its own",
    ]


@pytest.mark.parametrize(
    ("entry", "modules", "name", "words"),
    [
        (
            "full = theirs:Full",
            {"theirs": "raise RuntimeError\n"},
            "memrope",
            ("'full'", "horizon-bench (strategies.full:Full)", "acme-memory (theirs:Full)", "rename its entry point"),
        ),
        (
            "theirs = theirs:plain",
            {"theirs": "def plain(): ...\n"},
            "theirs",
            ("'theirs' from acme-memory (theirs:plain)", "a strategy is a subclass of harness.memory.Strategy"),
        ),
        (
            "theirs = theirs:Theirs",
            {"theirs": "import no_such_module\n"},
            "theirs",
            ("acme-memory (theirs:Theirs) cannot be loaded", "ModuleNotFoundError: No module named 'no_such_module'"),
        ),
    ],
    ids=["collision", "no strategy", "import fails"],
)
def test_plugin_that_cannot_be_used_is_one_line(
    tmp_path: Path, entry: str, modules: dict[str, str], name: str, words: tuple[str, ...]
) -> None:
    distribution(tmp_path, "acme-memory", entry, modules)
    done = run(tmp_path, "verify", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("horizon: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def test_broken_plugin_does_not_stop_the_others(tmp_path: Path) -> None:
    distribution(tmp_path, "acme-memory", "theirs = theirs:Theirs", {"theirs": "import no_such_module\n"})
    done = run(tmp_path, "describe", "full", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["name"] == "full"


SCORED = [
    ("key_norm", "KeyNorm", "", {"pass"}),
    ("attention_mass", "AttentionMass", ".positions=original,max_reuse=2,recent=2,sink=4", {"pass", "n/a"}),
    ("key_norm", "KeyNorm", ".positions=original,max_reuse=2,recent=2,sink=4", {"pass", "n/a"}),
    ("attention_mass", "AttentionMass", "", {"pass"}),
]


@pytest.mark.parametrize("case", pushed(SCORED, SCORED[0]), ids=lambda case: f"{case[0]}{case[2]}")
def test_plugin_that_only_scores_keeps_every_invariant(tmp_path: Path, case: tuple[str, str, str, set[str]]) -> None:
    name, kind, knobs, states = case
    source = (Path(__file__).parent / "example_scored" / f"{name}.py").read_text(encoding="utf-8")
    distribution(tmp_path, f"acme-{name.replace('_', '-')}", f"{name} = {name}:{kind}", {name: source})
    done = run(tmp_path, "verify", f"{name}{knobs}", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert {finding["state"] for finding in json.loads(done.stdout)["findings"]} == states


SUITE = Path(__file__).parent / "example_suite"
POINTS = "[horizon.suites]\nloops = loops:Loops\n[horizon.metrics]\nbrightness = brightness:Brightness\n"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite and a metric of somebody else's, and a campaign that took them."""
    folder = tmp_path_factory.mktemp("measured")
    for source in SUITE.glob("*.py"):
        shutil.copy(source, folder)
    about = folder / "loops-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: loops\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(POINTS, encoding="utf-8")
    words = ("--suite", "loops", "--suite", "drift", "--tier", "gate", "--equal-budget", "0", "--threads", "1")
    arms = ("--strategy", "sliding_window", "--strategy", "attention_sink")
    # A run that takes long says on stderr how far it is.
    done = run(folder, "run", "--out", "c", *words, *arms, code=SHORT)
    assert done.returncode == 0, done.stderr
    done = run(folder, "compare", "c", code=UNDRAWN + MAIN)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    (folder / "said.txt").write_text(done.stdout, encoding="utf-8")
    return folder


def test_a_suite_and_a_metric_of_others_are_in_the_report(measured: Path) -> None:
    """Their numbers and charts, where nothing of Horizon was edited."""
    said = (measured / "said.txt").read_text(encoding="utf-8")
    page = (measured / "c" / "report.html").read_text(encoding="utf-8")
    for text in ("like its beginning", "brightness"):
        assert text in page
        assert text.split()[0] in said
    plots = {path.stem for path in (measured / "c" / "plots").iterdir()}
    assert {"still-prompt-resemblance", "loops-spread", "steady-brightness"} <= plots
    for title in ("Resemblance, still-prompt", "Loops spread", "Brightness, steady"):
        assert title in page


def test_a_metric_is_listed_and_described(measured: Path) -> None:
    done = run(measured, "list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    listed = {about["name"]: about["about"] for about in json.loads(done.stdout)["metrics"]}
    assert listed["brightness"] == "Difference of the mean brightness."
    assert {"ssim", "sharpness", "colour_distance"} <= listed.keys()
    done = run(measured, "describe", "brightness", "--json")
    assert json.loads(done.stdout)["unit"] == "share"
    assert "difference of the mean brightness to the first seconds" in run(measured, "describe", "brightness").stdout


def test_the_suite_and_the_metric_on_the_page_are_those_that_run() -> None:
    """They are as short as the page says: a metric 15 lines, a suite 60."""
    from tests.test_docs import blocks

    page = blocks("docs/own-suite.md", "python")
    files = [SUITE / "brightness.py", SUITE / "loops.py"]
    assert page == [path.read_text(encoding="utf-8") for path in files]
    assert [len(text.splitlines()) <= most for text, most in zip(page, (15, 60), strict=True)] == [True, True]
