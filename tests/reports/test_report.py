"""A report of made-up records whose answer is known: one strategy keeps everything, one loses it after 30 s."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from harness import registry
from harness.cli.compare import compare
from harness.errors import StoreError
from harness.store.store import Store
from harness.suite import Sample
from reports import notes
from reports.arms import entrants
from reports.plots.strips import filmstrip
from reports.report import render
from reports.statistics.comparison import compared
from reports.tables import TIDY, scores, tidy
from suites.observers.filmstrip import ROWS
from suites.observers.probe import edges
from tests.toy import ASKED

pytestmark = pytest.mark.usefixtures("undrawn")

SEEDS = range(100, 116)
ARMS = {
    "sliding_window": ("sliding_window", {}, ["as published", "equal budget"]),
    "memrope": ("memrope", {}, ["as published"]),
    "memrope.window=14": ("memrope", {"window": 14}, ["equal budget"]),
    "attention_sink": ("attention_sink", {}, ["as published", "equal budget"]),
}
CURVES = {
    "sliding_window": lambda end, seed: float(end <= 120) * (0.9 + 0.01 * (seed % 3)),
    "memrope": lambda end, seed: 0.9 + 0.01 * (seed % 3),
    "memrope.window=14": lambda end, seed: 1.0,
    # The same as the baseline on average, and no two rollouts alike.
    "attention_sink": lambda end, seed: (
        float(end <= 120) * (0.9 + 0.01 * (seed % 3)) + 0.05 * (-1) ** seed * (end > 120)
    ),
}


def knobs(name, changes):
    return registry.strategy(name, **changes).knobs()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "made-up"
    store = Store(folder)
    arms = [
        {"label": label, "strategy": name, "knobs": knobs(name, changes), "tables": tables}
        for label, (name, changes, tables) in ARMS.items()
    ]
    asked = {"backbone": "pocket", "tier": "quick", "suite_versions": {"drift": "1"}, "arms": arms}
    cells = [f"{scenario}-{number}" for scenario in ("steady", "occlusion") for number in range(len(ARMS))]
    environment = {
        "cpu": "a <cpu> & more", "threads": 2, "gpu": None, "device": "cpu", "attention": "sdpa", "packages": {},
        "code": {},
    }  # fmt: skip
    store.begin({"name": "made-up", "asked": {**asked, "cells": [*cells, "skipped"]}, "environment": environment})
    for number, (label, (name, changes, _)) in enumerate(ARMS.items()):
        for scenario, frames in (("steady", 240), ("occlusion", 84)):
            rows = [{"seed": seed, "script": [[0, "a thing"]]} for seed in SEEDS]
            samples = [
                Sample(row, metric, end, CURVES[label](end, seed))
                for metric in ("unsaid_identity", "identity", "motion", "ssim")
                for row, seed in enumerate(SEEDS)
                for end in edges(frames)
            ]
            about = {
                "backbone": "pocket", "strategy": name, "knobs": knobs(name, changes), "suite": "drift",
                "suite_version": "1", "skipped_metrics": {"clip": "needs weights"},
                "seconds_per_latent_frame": 0.25, "status": "ok", "reason": "",
                "task": {"scenario": scenario, "frames": frames, "given": 3, "rows": rows},
                "cost": {"chunk_ms": 20.0 + number, "cache_bytes": 300_000 + number, "seconds": {}, "switches": []},
            }  # fmt: skip
            strip = np.zeros((ROWS, 3, 3, 24, 24), np.uint8)
            store.finish(f"{scenario}-{number}", about, samples, {"strip": strip, "frames": np.array([0, 80, 160])})
    skipped = {**about, "strategy": "full", "status": "skipped", "reason": "keeps every frame", "cost": {}}
    store.finish("skipped", skipped, (), {})
    render(folder)
    return folder


def test_the_tidy_table_has_every_sample(folder):
    table = pd.read_parquet(folder / "records.parquet")
    assert tuple(table.columns) == TIDY
    assert len(table) == len(ARMS) * 4 * len(SEEDS) * (len(edges(240)) + len(edges(84)))
    row = table[(table["scenario"] == "steady") & (table["at_frame"] == 240)].iloc[0]
    assert (row["horizon_latent_frames"], row["horizon_seconds"], row["unit"], row["better"]) == (
        240,
        60,
        "share",
        "higher",
    )


def found(folder, table, arm, metric="unsaid_identity", scenario="steady", seconds=60.0):
    rows = pd.read_csv(folder / "table.csv")
    rows = rows[(rows["table"] == table) & (rows["arm"] == arm) & (rows["metric"] == metric)]
    (row,) = rows[(rows["scenario"] == scenario) & (rows["horizon_seconds"] == seconds)].itertuples()
    return row


def test_what_is_better_is_called_better_and_what_is_not_is_not(folder):
    row = found(folder, "as published", "memrope")
    assert row.mean == pytest.approx(0.91, abs=0.01)
    assert row.difference == pytest.approx(row.mean, abs=1e-4)
    assert row.real
    early = found(folder, "as published", "memrope", seconds=30.0)
    assert (early.difference, early.real) == (0, False)
    other = found(folder, "as published", "attention_sink")
    assert other.difference_low < 0 < other.difference_high
    assert not other.real
    assert found(folder, "equal budget", "memrope.window=14").mean == 1
    assert found(folder, "as published", "sliding_window", "survival").mean == 30
    base = found(folder, "as published", "sliding_window")
    assert np.isnan(base.difference)


def test_tables_are_compared_within_themselves(folder):
    rows = pd.read_csv(folder / "table.csv")
    by_table = rows.groupby("table")["arm"].unique().map(set).to_dict()
    assert by_table == {
        "as published": {"sliding_window", "memrope", "attention_sink"},
        "equal budget": {"sliding_window", "memrope.window=14", "attention_sink"},
    }


def test_the_page_stands_alone_and_says_it(folder):
    page = (folder / "report.html").read_text(encoding="utf-8").partition("<script")[0]
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "a &lt;cpu&gt; &amp; more" in page
    assert '<span class="mark up">▲</span><span class="range">[0.78, 0.92]</span>' in page
    assert "keeps every frame" in page
    assert "clip: needs weights" in page
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert re.search(r"\| memrope \| 300 \| 21 \| 0.91 \[0.78, 0.92\] ▲ \|", text)
    assert "unsaid identity, n=16 |" in text
    for name in re.findall(r"\]\((plots/[^)]+)\)", text):
        assert (folder / name).stat().st_size > 5000
        assert (folder / name).with_suffix(".svg").exists() or "filmstrips" in name


BUDGET = 331_776
WHY = "holds 300 kB of 332 kB (-9.6 %): no shape of it comes nearer"
ABSENT = "the smallest shape (window=9) holds 522 kB, and the budget is 332 kB"


def budgeted(folder, tmp_path, notes):
    """The same campaign, where arms were asked to hold the budget, with these notes by label."""
    shutil.copytree(folder, tmp_path / "budgeted")
    path = tmp_path / "budgeted" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for arm in manifest["asked"]["arms"]:
        if arm["label"] in notes or "equal budget" in arm["tables"]:
            arm |= {"budget_bytes": BUDGET, "budget_note": notes.get(arm["label"])}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return tmp_path / "budgeted"


def test_an_arm_off_its_budget_is_marked_and_one_that_is_left_out_is_named(folder, tmp_path, capsys):
    made = budgeted(folder, tmp_path, {"attention_sink": WHY, "memrope": ABSENT})
    _, (published, equal, *_), _ = render(made)
    assert (published.title, published.notes) == ("as published", [])
    assert {row[0]: row[1] for row in published.rows} == {
        "sliding_window": "300",
        "memrope": "300",
        "attention_sink": "300",
    }
    assert {row[0]: row[1] for row in equal.rows} == {
        "sliding_window": "300",
        "memrope.window=14": "300",
        "attention_sink": "300 †",
    }
    notes = [
        "Budget: 332 kB of cache.",
        f"† attention_sink {WHY}.",
        f"memrope is not in this table: {ABSENT}.",
    ]
    assert equal.notes == notes
    text, page = ((made / name).read_text(encoding="utf-8") for name in ("report.md", "report.html"))
    equal_part = text.partition("## Equal budget")[2].partition("\n## ")[0]
    assert re.search(r"^\| attention_sink \| 300 † \|", equal_part, re.MULTILINE)
    for note in notes:
        assert f"\n\n{note}\n" in equal_part
        assert f'<p class="pale">{note}</p>' in page
    compare([made])
    said = " ".join(capsys.readouterr().out.split())
    for note in notes:
        assert note in said


def test_a_table_of_which_every_arm_is_left_out_still_says_so(folder, tmp_path):
    made = budgeted(folder, tmp_path, {"memrope": ABSENT})
    path = made / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for arm in manifest["asked"]["arms"]:
        arm["tables"] = ["as published"]
        if arm["label"] != "memrope":
            arm |= {"budget_bytes": None, "budget_note": None}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    _, (_, equal, *_), _ = render(made)
    assert (equal.title, equal.rows) == ("equal budget", [])
    assert equal.notes == ["Budget: 332 kB of cache.", f"memrope is not in this table: {ABSENT}."]
    assert f"memrope is not in this table: {ABSENT}." in (made / "report.html").read_text(encoding="utf-8")


def test_arms_of_other_code_are_named_in_every_table(folder, tmp_path, monkeypatch):

    shutil.copytree(folder, tmp_path / "c")
    why = ["strategies/memrope changed"]
    monkeypatch.setattr(notes.Today, "stale", lambda self, about: why if about["strategy"] == "memrope" else [])
    _, shown, legend = render(tmp_path / "c")
    named = [row[0] for sheet in shown for row in sheet.rows]
    assert {name for name in named if "memrope" in name} == {
        "memrope (stale)", "memrope.window=14 (stale)", "2 memrope (stale)", "2 memrope.window=14 (stale)"
    }  # fmt: skip
    assert not any("(stale)" in name for name in named if "memrope" not in name)
    assert legend.stale == "Stale, made by other code: memrope, memrope.window=14 (strategies/memrope changed)."
    for page in ("report.md", "report.html"):
        assert legend.stale in (tmp_path / "c" / page).read_text(encoding="utf-8")
    assert notes.stale_arms([Store(folder)], []) == {"memrope": "strategies/memrope changed"}


def test_a_terminal_says_which_arms_have_no_number_and_why(folder, tmp_path):
    _, _, legend = render(folder, out=tmp_path)
    assert legend.short.endswith("No numbers: full in 1 of 1 cells (skipped: keeps every frame).")


def test_a_letter_that_no_font_has_is_no_word_on_the_error_stream(tmp_path, recwarn):
    filmstrip([torch.zeros(1, 3, 8, 8)], tmp_path / "x.png", ["0 s"], ["狐"], title="狐は雪の中")
    assert (tmp_path / "x.png").exists()
    assert [str(each.message) for each in recwarn if "Glyph" in str(each.message)] == []


def test_rendering_twice_gives_the_same(folder):
    before = {name: (folder / name).read_bytes() for name in ("table.csv", "report.md", "records.parquet")}
    render(folder)
    assert before == {name: (folder / name).read_bytes() for name in before}


def test_metrics_of_another_version_are_named(folder, tmp_path):
    store = Store(tmp_path)
    asked = {**ASKED, "cells": ["a"]}
    store.begin({"name": "x", "asked": asked, "environment": {}})
    about = json.loads((folder / "cells" / "steady-0" / "cell.json").read_text(encoding="utf-8"))
    store.finish("a", about, [Sample(0, "vigour", 9, 1.0)], {})
    with pytest.raises(StoreError, match="metrics that suite drift does not have: vigour"):
        tidy(store)


def test_an_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(StoreError, match="no campaign there; make one with: horizon run"):
        render(tmp_path)
    Store(tmp_path).begin({"name": "x", "asked": ASKED, "environment": {}})
    with pytest.raises(StoreError, match="no finished cell in it yet"):
        render(tmp_path)


def test_comparison_needs_no_baseline(folder):
    store = Store(folder)
    field = [entrant for entrant in entrants(store) if entrant.strategy == "memrope"]
    found = compared(scores(tidy(store)), field)
    assert found.rows["difference"].isna().all()
    assert "sliding_window, the default baseline, is not among its arms" in found.baseline.missing["as published"]


SWITCHED = [(21, "smooth", 2.0), (42, "hardcut", 5.0), (63, "smooth", None), (84, "recall", 9.0), (105, "hardcut", 1.0)]


@pytest.fixture(scope="module")
def switched(tmp_path_factory):
    """Prompt switches of two strategies: one follows all of them but the third, the other none."""
    folder = tmp_path_factory.mktemp("runs") / "switches"
    store = Store(folder)
    names = ("sliding_window", "memrope")
    arms = [{"label": n, "strategy": n, "knobs": knobs(n, {}), "tables": ["as published"]} for n in names]
    asked = {"backbone": "pocket", "tier": "quick", "suite_versions": {"interactive": "1"}, "arms": arms}
    environment = {
        "cpu": "cpu", "threads": 2, "gpu": None, "device": "cpu", "attention": "sdpa", "packages": {}, "code": {},
    }  # fmt: skip
    store.begin({"name": "switches", "asked": {**asked, "cells": list(names)}, "environment": environment})
    script = [[0, "a thing"], *([at, f"scene at {at}"] for at, _, _ in SWITCHED)]
    for name in names:
        rows = [{"seed": seed, "script": script} for seed in SEEDS]
        samples = []
        for row, seed in enumerate(SEEDS):
            for at, kind, response in SWITCHED:
                follows = name == "memrope" and response is not None
                samples += [
                    Sample(row, "response", at, response if follows else 21.0),
                    Sample(row, "responded", at, float(follows)),
                    Sample(row, "leakage_12", at, 0.0 if follows else 1.0),
                    *([Sample(row, "recall", at, float(follows))] if kind == "recall" else []),
                ]
                for end in range(at + 3, at + 22, 3):
                    level = (0.9 + 0.01 * (seed % 3)) * follows
                    samples += [Sample(row, m, end, level) for m in ("new_scene", "old_scene", "first_scene")]
        turns = [{"passes": 1, "frames": 9, "bytes": 0, "seconds": 0.02}]
        about = {
            "backbone": "pocket", "strategy": name, "knobs": knobs(name, {}), "suite": "interactive",
            "suite_version": "1", "skipped_metrics": {}, "seconds_per_latent_frame": 0.25, "status": "ok",
            "reason": "", "cost": {"chunk_ms": 20.0, "cache_bytes": 300_000, "seconds": {}, "switches": turns},
            "task": {
                "scenario": "six-21", "frames": 126, "given": 3, "rows": rows,
                "boundaries": ["smooth", *(kind for _, kind, _ in SWITCHED)],
            },
        }  # fmt: skip
        strip = np.zeros((ROWS, 3, 3, 24, 24), np.uint8)
        store.finish(name, about, samples, {"strip": strip, "frames": np.array([0, 42, 84])})
    return folder


def test_prompt_switches_have_tables_of_their_own(switched):
    made, sheets, _ = render(switched)
    switches, price, _ = sheets
    assert switches.title == "prompt switches"
    by_arm = {row[0]: dict(zip(switches.heads, row, strict=True)) for row in switches.rows}
    assert by_arm["sliding_window"]["median response"] == "never"
    assert by_arm["memrope"]["median response"] == "5 frames"
    assert by_arm["memrope"]["followed"] == "0.80 [0.69, 0.82] ▲"
    assert by_arm["memrope"]["old scene stays"] == "0.20 [0.18, 0.31] ▲"
    assert [row[:3] for row in price.rows] == [["sliding_window", "20.0", "9"], ["memrope", "20.0", "9"]]
    names = [path.name for path in made]
    assert "prompt-switches.png" in names
    assert "six-21-filmstrips.png" in names
    text = (switched / "report.md").read_text(encoding="utf-8")
    assert "## Prompt switches" in text
    assert "(plots/prompt-switches.png)" in text
