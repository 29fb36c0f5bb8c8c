"""A known world of somebody else's: suites measure it against its truth as they do the embedded one."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from suites.distance import Distance
from suites.drift import Drift
from suites.interactive import Interactive
from suites.observers.probe import Watch
from suites.observers.scenes import Scenes
from suites.vbench_long import VbenchLong
from tests.plugin.test_plugin import run
from tests.short import MAIN, UNDRAWN
from tests.suites import fake

SOURCE = Path(__file__).parent / "example_world" / "halves.py"
METADATA = "Metadata-Version: 2.1\nName: halves\nVersion: 1.0\n"


@pytest.fixture(scope="module")
def backbone():
    spec = importlib.util.spec_from_file_location("halves", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.halves()


def test_suites_ask_what_the_world_has(backbone):
    drift = {task.scenario: task for task in Drift().tasks(backbone, "full")}
    # This world has no curtain.
    assert set(drift) == {"steady", "evolve", "accumulate", "steady-said", "steady-text"}
    assert drift["steady"].rows[0].script == ((0, "any over any"),)
    six = next(task for task in Interactive().tasks(backbone, "quick") if task.scenario == "six-21")
    assert [prompt.split()[0] for _, prompt in six.rows[0].script] == ["any", "now", "cut", "now", "back", "cut"]
    (forced,) = Distance().tasks(backbone, "quick")
    assert len(forced.rows) == 16
    assert VbenchLong().remedy(backbone) == (
        "measures real videos, but those of halves are drawings of 8 pixels: give --backbone self-forcing"
    )


@pytest.mark.parametrize("scenario", ["steady", "evolve", "accumulate", "steady-said", "steady-text"])
def test_the_truth_is_itself(backbone, scenario):
    task = next(task for task in Drift().tasks(backbone, "full") if task.scenario == scenario)
    task = replace(task, frames=min(task.frames, 240), rows=task.rows[:16])
    found = fake.shown(Watch(backbone, task), backbone, task)
    metrics = Drift()
    for name in ("identity", "identity_upper", "identity_lower", "presence", "motion", "guard", "ssim"):
        values = [value for row in found[name].values() for value in row if value is not None]
        assert values, name
        assert min(values) > 0.99, name
    assert all(metrics.metric_named(name) for name in found)
    assert metrics.metric_named("identity_upper").better == "higher"
    assert metrics.metric_named("likeness_upper") is None


def test_another_colour_is_half_of_the_identity(backbone):
    task = Drift().tasks(backbone, "gate")[0]
    found = fake.shown(Watch(backbone, task), backbone, task, lambda pixels: torch.cat(
        (pixels[..., :4, :], 1 - pixels[..., 4:, :]), -2))  # fmt: skip
    assert set(found["identity_upper"][240]) == {1.0}
    assert set(found["identity_lower"][240]) == {0.0}
    assert set(found["identity"][240]) == {0.5}


@pytest.mark.parametrize("scenario", ["smooth-21", "hardcut-21", "recall-21", "six-21"])
def test_the_truth_follows_every_switch(backbone, scenario):
    task = next(task for task in Interactive().tasks(backbone, "quick") if task.scenario == scenario)
    found = fake.shown(Scenes(backbone, task), backbone, task)
    for name, wanted in (("responded", 1), ("constancy", 1), *((("recall", 1),) if "recall" in found else ())):
        values = {value for row in found[name].values() for value in row if value is not None}
        assert values == {wanted}, name


def test_a_campaign_in_another_world_is_reported_as_one(tmp_path):
    shutil.copy(SOURCE, tmp_path)
    about = tmp_path / "halves-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(METADATA, encoding="utf-8")
    (about / "entry_points.txt").write_text("[horizon.backbones]\nhalves = halves:halves\n", encoding="utf-8")
    asked = ("--backbone", "halves", "--tier", "gate", "--suite", "drift", "--suite", "interactive", "--threads", "1")
    arms = ("--strategy", "sliding_window", "--strategy", "attention_sink", "--equal-budget", "0")
    # A run that takes long says on stderr how far it is.
    done = run(tmp_path, "run", "--out", "c", *asked, *arms)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "c" / "manifest.json").read_text(encoding="utf-8"))["asked"]["known_world"] is True
    done = run(tmp_path, "compare", "c", code=UNDRAWN + MAIN)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "identity" in done.stdout
    assert "prompt switches" in done.stdout
    page = (tmp_path / "c" / "report.html").read_text(encoding="utf-8")
    assert "Rankings in halves are evidence about mechanisms" in page
    table = pd.read_parquet(tmp_path / "c" / "records.parquet")
    assert set(table["observed_by"]) == {"seed"}
    assert {"identity_upper", "identity_lower"} <= set(table["metric"])
