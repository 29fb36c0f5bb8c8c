"""Two trees measured in turn: each runs its own code, and an error in one is reported in one line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli
from harness.campaign.campaign import make_campaign
from harness.errors import TreeError
from harness.gate import checkouts as trees
from harness.gate import interleave as turns
from harness.gate.rounds import Rounds, _known, only
from harness.store.store import Store
from reports.gate.evidence import read

ROOT = Path(__file__).parents[2]
VRAM = {"suites": ["vram"], "tier": "gate", "equal_budget": 0, "strategies": ["sliding_window"]}


@pytest.fixture
def copy(tmp_path):
    """A tree of this code, to be changed."""
    folder = tmp_path / "tree"
    for name in trees.PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def append(file, text):
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_a_tree_is_known_by_its_code(copy):
    first = trees.tree(copy)
    (copy / "harness" / "__pycache__").mkdir()
    (copy / "harness" / "__pycache__" / "x.pyc").write_text("x", encoding="utf-8")
    (copy / "README.md").write_text("said differently", encoding="utf-8")
    assert trees.tree(copy) == first
    append(copy / "suites" / "__init__.py", "# another\n")
    assert trees.tree(copy).digest != first.digest


@pytest.mark.nightly
def test_the_gate_measures_both_and_judges(copy, tmp_path, capsys, monkeypatch):
    """The other tree holds a tenth more: this one is better, and the other, judged by this one, worse."""
    append(
        copy / "strategies" / "sliding_window.py",
        "\n\nfrom harness.memory.frames import FrameCache\n\n_stored = FrameCache.stored\n\n\ndef _more(self):\n"
        "    if not hasattr(self, 'extra'):\n        import torch\n        self.extra = torch.zeros(40_000)\n"
        "    return [*_stored(self), self.extra]\n\n\nFrameCache.stored = _more\n",
    )
    campaign = tmp_path / "campaign.toml"
    campaign.write_text(turns._toml(VRAM), encoding="utf-8")
    out = tmp_path / "out"

    def gate(*words):
        monkeypatch.setattr("sys.argv", ["horizon", "gate", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, json.loads(capsys.readouterr().out)

    code, told = gate(out, "--against", copy, "--campaign", campaign, "--minutes", 0, "--json")
    assert (code, told["state"], told["together"]) == (0, "improved", True)
    states = {finding["metric"]: finding["state"] for finding in told["findings"]}
    assert states["cache_bytes"] == "improved"
    assert {path.name for path in out.iterdir()} >= {
        "gate.md",
        "gate.json",
        "junit.xml",
        "head.parquet",
        "base.parquet",
    }
    machine = next(Store(next((out / "cost").iterdir()) / "head").cells()).about["machine"]
    assert machine["process"] == "of one repeat"
    head, base = (str(out / f"{side}.parquet") for side in ("head", "base"))
    monkeypatch.setattr("sys.argv", ["horizon", "gate", base, "--baseline", head, "--out", str(tmp_path / "swapped")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert "regression: sliding_window: cache_bytes in stream" in capsys.readouterr().out
    # What is there is not measured again.
    before = {file: file.stat().st_mtime for file in out.rglob("cell.json")}
    Rounds(out, {"head": trees.tree(ROOT), "base": trees.tree(copy)}, 1, 1).go(make_campaign(VRAM))
    assert {file: file.stat().st_mtime for file in out.rglob("cell.json")} == before


def test_a_tree_is_asked_for_what_it_knows_and_a_mistake_in_one_strategy_is_told(copy, tmp_path):
    """The other tree lacks a strategy, and cannot open another one."""
    project = (copy / "pyproject.toml").read_text(encoding="utf-8")
    (copy / "pyproject.toml").write_text(
        project.replace('memrope = "strategies.memrope:MemRoPE"\n', ""), encoding="utf-8"
    )
    wrong = "\n\ndef _no(self, spec):\n    raise IndexError('on purpose')\n\n\nSlidingWindow.open = _no\n"
    append(copy / "strategies" / "sliding_window.py", wrong)
    tree = trees.tree(copy)
    assert _known({"strategies": ["memrope.window=9"], "knobs": {}}, tree) is None
    both = {"strategies": ["memrope", "full"], "knobs": {"memrope": {"window": 9}, "full": {}}}
    assert _known(both, tree) == {"strategies": ["full"], "knobs": {"full": {}}}
    assert _known({"strategies": []}, tree) == {"strategies": []}
    turns.cost({"base": tree}, {"base": VRAM}, tmp_path / "cost", threads=1)
    found = read(tmp_path / "cost" / "base")
    assert found.scores.empty
    assert {trouble[:5] for trouble in found.troubles} == {
        ("sliding_window", "vram", "stream", "failed", "IndexError: on purpose")
    }


def test_each_tree_registers_its_own_names(copy, tmp_path):
    project = (copy / "pyproject.toml").read_text(encoding="utf-8")
    point = 'sliding_window = "strategies.sliding_window:SlidingWindow"\n'
    (copy / "pyproject.toml").write_text(
        project.replace(point, point + point.replace("sliding_window =", "twin =")), encoding="utf-8"
    )
    # What an installation left there long ago.
    (copy / "horizon_bench.egg-info").mkdir()
    (copy / "horizon_bench.egg-info" / "PKG-INFO").write_text(
        "Metadata-Version: 2.1\nName: horizon-bench\nVersion: 0\n", encoding="utf-8"
    )
    (copy / "horizon_bench.egg-info" / "entry_points.txt").write_text("[horizon.strategies]\n", encoding="utf-8")
    words = "from harness import registry; print(list(registry.found('strategies')))"
    for tree, there in ((copy, True), (ROOT, False)):
        environment = trees.environment(trees.tree(tree), tmp_path / "out")
        done = subprocess.run(
            [sys.executable, *trees.AS_IT_IS, "-c", words],
            cwd=tree,
            env=environment,
            check=True,
            capture_output=True,
            encoding="utf-8",
        )
        assert ("'twin'" in done.stdout) == there


def test_what_goes_wrong_in_a_tree_is_one_line(copy, tmp_path):
    append(copy / "harness" / "engines" / "isolated.py", "raise ImportError('broken on purpose')\n")
    with pytest.raises(TreeError, match=r"tree: its process ended with 1: ImportError: broken on purpose"):
        turns.cost({"head": trees.tree(copy)}, {"head": VRAM}, tmp_path / "cost", threads=1)
    with pytest.raises(TreeError, match=r"tree: horizon run ended with 70: ImportError: broken on purpose"):
        turns.quality(trees.tree(copy), {**VRAM, "suites": ["drift"]}, tmp_path / "quality", ())
    with pytest.raises(TreeError, match="not a checkout of Horizon that can be measured in turn"):
        trees.tree(tmp_path)
    with pytest.raises(TreeError, match=r"no tier 'gat'; allowed: gate"):
        turns.cost({"head": trees.tree(ROOT)}, {"head": {**VRAM, "tier": "gat"}}, tmp_path / "cost", threads=1)
    (copy / "pyproject.toml").write_text("<<<<<<<", encoding="utf-8")
    with pytest.raises(TreeError, match=r"pyproject.toml: not this project's \(TOMLDecodeError"):
        trees.environment(trees.tree(copy), tmp_path / "out")


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    (folder / "harness" / "gate").mkdir(parents=True)

    def commit(text):
        for name in ("pyproject.toml", "harness/gate/interleave.py"):
            (folder / name).write_text(text, encoding="utf-8")
        git("add", "-A")
        git("-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", text)
        return git("rev-parse", "HEAD")

    def git(*words):
        done = subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, encoding="utf-8")
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    return folder, commit, git


def test_what_a_checkout_is_compared_with(repository, tmp_path):
    folder, commit, git = repository
    one, two = commit("# 1"), commit("# 2")
    assert trees.before(folder) == one
    (folder / "pyproject.toml").write_text("# 3", encoding="utf-8")
    assert trees.before(folder) == two
    git("checkout", "-qb", "topic")
    commit("# 4")
    assert trees.before(folder) == two
    first = trees.checked_out("main~1", folder, tmp_path / "trees")
    assert (first.path / "pyproject.toml").read_text(encoding="utf-8") == "# 1"
    assert trees.checked_out(one, folder, tmp_path / "trees") == first
    assert trees.checked_out(str(first.path), folder, tmp_path / "trees") == first
    with pytest.raises(TreeError, match=r"--against nothing: .*; give a commit, branch, tag, or a folder"):
        trees.checked_out("nothing", folder, tmp_path / "trees")
    git("branch", "-qm", "main", "trunk")
    with pytest.raises(TreeError, match="no branch main or master"):
        trees.before(folder)


def test_a_later_round_has_only_what_is_unsure():
    asked = make_campaign(
        {
            "suites": ["latency", "vram"],
            "strategies": ["memrope.window=10", "videomla"],
            "knobs": {"videomla": {"window": 9}},
        }
    )
    less = only(asked, {"memrope.window=10"}, {"latency"})
    assert (less.strategies, less.suites, less.knobs) == (("memrope.window=10",), ("latency",), {})
    all_of_them = only(make_campaign({}), {"videomla (untrained, SVD only)"}, {"drift"})
    assert all_of_them.strategies == ("videomla",)
