"""Speeds of two machines, kernels or versions never share a column, however the folder came about."""

import json

import pandas as pd
import pytest

from harness import registry
from harness.cli.console.report_table import fitted, on_terminal
from harness.provenance.code import code_of
from harness.provenance.environment import cohort_of
from harness.store.store import Store
from harness.suite import Sample
from reports.arms import cohorts_of, entrants
from reports.plots import drift
from reports.plots.panels import cast
from reports.report import render
from reports.sheets.cost import speeds
from reports.sheets.sheet import Sheet
from reports.statistics.comparison import compared
from reports.tables import scores, tidy

HERE = {
    "cpu": "a cpu", "cores": 2, "threads": 1, "gpu": None, "device": "cpu", "attention": "sdpa", "dtype": "float32",
    "compile": False, "packages": {"torch": "2.13.0"}, "code": {"commit": "0" * 40},
}  # fmt: skip
PACE = {"sliding_window": 0.1, "memrope": 0.11}


def folder(path, *runs):
    """A folder that was gone on with: (environment, its arms, what each chunk takes as a multiple) for each run."""
    store = Store(path)
    knobs = {name: registry.strategy(name).knobs() for name in PACE}
    arms = [{"label": n, "strategy": n, "knobs": knobs[n], "tables": ["as published"]} for n in PACE]
    for number, (environment, names, slower) in enumerate(runs):
        cells = {f"{number}-{name}-{seed}": (name, seed) for name in names for seed in range(5)}
        films = {f"{number}-{name}-film": (name, None) for name in names}
        asked = {
            "backbone": "pocket", "tier": "quick", "seed": 0, "suite_versions": {"fps": "1", "drift": "1"},
            "arms": [arm for arm in arms if arm["label"] in names], "cells": [*cells, *films],
        }  # fmt: skip
        store.begin({"name": "cost", "asked": asked, "environment": environment, "when": str(number)})
        for cell, (name, seed) in {**cells, **films}.items():
            drawn = seed is None
            curve = dict.fromkeys(range(3, 97, 3), slower * PACE[name] * (1 + 0.01 * (seed or 0)))
            samples = [Sample(0, "chunk_seconds", end, value) for end, value in curve.items()]
            samples += [Sample(0, "steady_from", 96, 30), Sample(0, "pixel_frames", 96, 96),
                        Sample(0, "whole_seconds", 96, 10), Sample(0, "start_seconds", 3, 1)]  # fmt: skip
            about = {
                "backbone": "pocket", "strategy": name, "knobs": knobs[name], "suite": "drift" if drawn else "fps",
                "suite_version": "1", "skipped_metrics": {}, "seconds_per_latent_frame": 0.25, "status": "ok",
                "reason": "", "arm": name,
                "cost": {"chunk_ms": 1000 * slower * PACE[name], "cache_bytes": 3e5, "seconds": {}, "switches": []}
                if drawn else {},
                "task": {"scenario": "steady" if drawn else "stream", "frames": 96, "given": 0,
                         "rows": [{"seed": seed or 0, "script": [[0, "a"]]}]},
            }  # fmt: skip
            seen = [Sample(0, "unsaid_identity", 96, 0.9), Sample(0, "identity", 96, 0.9)]
            store.finish(cell, about, seen if drawn else samples, {})
    return path


CHANGES = [
    {"threads": 2}, {"cpu": "another"}, {"attention": "flash-attn"}, {"dtype": "bfloat16"}, {"compile": "blocks"},
    {"packages": {"torch": "2.12.0"}}, {"code": {"commit": "1" * 40}}, {"device": "cuda:0", "gpu": "a gpu"},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=[next(iter(change)) for change in CHANGES])
def test_one_arm_here_and_the_other_elsewhere_are_never_compared(tmp_path, change):
    """Nine frames a second on one thread stood beside 114 on two, marked as a real difference."""
    store = Store(folder(tmp_path / "c", (HERE, ["sliding_window"], 1), (HERE | change, ["memrope"], 0.1)))
    found = compared(scores(tidy(store)), entrants(store))
    rates = found.rows[found.rows["metric"] == "dit_fps"]
    assert rates["cohort"].nunique() == 2
    assert not rates["real"].any()
    assert found.pairs[found.pairs["suite"] == "fps"].empty
    # What it shows is compared all the same: quality does not depend on who is fast.
    assert len(found.pairs[found.pairs["metric"] == "unsaid_identity"]) == 1
    assert len(cohorts_of(store)) == 2


def test_records_of_versions_that_never_compiled_are_of_one_cohort_with_those_that_do_not(tmp_path):
    newer = HERE | {"compile": "off"}
    store = Store(folder(tmp_path / "c", (HERE, ["sliding_window"], 1), (newer, ["memrope"], 1)))
    assert HERE["compile"] is False
    assert len(cohorts_of(store)) == 1


def test_each_machine_has_a_table_of_its_own_with_its_name(tmp_path):
    both = ["sliding_window", "memrope"]
    path = folder(tmp_path / "c", (HERE, both, 1), (HERE | {"threads": 2, "cpu": "another"}, both, 0.5))
    _, sheets, _ = render(path)
    titles = {sheet.title: sheet for sheet in sheets}
    one, other = (titles[f"what it costs: speed, on {name}"] for name in ("a cpu, threads 1", "another, threads 2"))
    slow, fast = (dict(zip(sheet.heads, sheet.rows[1], strict=True))["DiT (FPS)"] for sheet in (one, other))
    assert slow.startswith("26.7 ")
    assert fast.startswith("53.5 ")
    # Within a machine memrope is slower in every repeat.
    assert slow.endswith("▼")
    assert fast.endswith("▼")
    main = titles["as published"]
    assert "chunk (ms)" not in main.heads
    assert titles["timings of quality cells, on a cpu, threads 1"].rows[0] == ["sliding_window", "100"]
    assert titles["timings of quality cells, on another, threads 2"].rows[0] == ["sliding_window", "50"]
    for page in ("report.html", "report.md"):
        text = (path / page).read_text(encoding="utf-8")
        assert "hat it costs: speed, on another, threads 2" in text
    table = pd.read_csv(path / "table.csv")
    assert table["chunk_ms"].isna().all()
    assert table.loc[table["metric"] == "dit_fps", "cohort"].nunique() == 2


def test_one_machine_has_one_table_without_a_name(tmp_path):
    path = folder(tmp_path / "c", (HERE, ["sliding_window"], 1), (dict(HERE), ["memrope"], 1))
    _, sheets, _ = render(path)
    assert "what it costs: speed" in {sheet.title for sheet in sheets}
    assert dict(zip(sheets[0].heads, sheets[0].rows[0], strict=True))["chunk (ms)"] == "100"


def test_plots_have_a_line_style_a_machine(tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    drawn = []
    plot = Axes.plot
    monkeypatch.setattr(
        Axes, "plot", lambda self, *a, **k: drawn.append((k.get("label"), k.get("linestyle"))) or plot(self, *a, **k)
    )
    both = ["sliding_window", "memrope"]
    render(folder(tmp_path / "c", (HERE, both, 1), (HERE | {"threads": 2}, both, 0.5)))
    lines = {label: style for label, style in drawn if label and label.split(",")[0] in PACE and "," in label}
    assert len(lines) == 4
    by_machine = {}
    for label, style in lines.items():
        by_machine.setdefault(label.split(", ")[1], set()).add(style)
    assert sorted(map(len, by_machine.values())) == [1, 1]
    assert len(set.union(*by_machine.values())) == 2


def test_speeds_of_one_machine_alone(tmp_path):
    both = ["sliding_window", "memrope"]
    store = Store(folder(tmp_path / "c", (HERE, both, 1), (HERE | {"threads": 2}, both, 0.5)))
    found = compared(scores(tidy(store)), entrants(store))
    rates = [speeds(found.rows, cohort)["sliding_window"] for cohort in cohorts_of(store)]
    assert max(rates) == pytest.approx(2 * min(rates))
    assert cast(entrants(store), found.baseline).left_out == 0


def test_suites_and_their_references_are_no_part_of_what_takes_the_time_of_a_chunk():
    """Chunks of all suites of quality are made by the same code: their times may stand in one column."""
    pocket, strategy = registry.backbone("pocket").name, registry.strategy("memrope")

    def cohort(suite, **more):
        code = code_of(strategy, registry.load("suites", suite)(), pocket).record()
        return cohort_of({"environment": "e", "code": code, **more}, {"environments": {"e": HERE}})

    # `distance` and `fairness` compare with full attention, whose modules the other suites do not import.
    names = ("drift", "interactive", "distance", "fairness")
    assert len({str(cohort(name)) for name in names}) == 1
    # A measurement is of its suite's code, too.
    assert cohort("drift", machine={}) != cohort("fairness", machine={})


def test_other_code_of_the_rollout_is_another_cohort_of_times():
    """Speeds of two versions of the rollout loop are not compared."""

    def cohort(rollout):
        about = {"environment": "e", "code": {"shared": "s", "rollout": rollout}}
        return cohort_of(about, {"environments": {"e": HERE}})

    assert cohort("1") == cohort("1") != cohort("2")


def unmeasured(path):
    """A folder of two machines, on which nobody measured speeds."""
    store = Store(folder(path, (HERE, list(PACE), 1), (HERE | {"threads": 2}, list(PACE), 0.5)))
    manifest = store.manifest()
    films = [cell for cell in manifest["asked"]["cells"] if cell.endswith("film")]
    written = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    written["asked"]["cells"] = films
    (path / "manifest.json").write_text(json.dumps(written), encoding="utf-8")
    return path


def test_panels_name_machines_in_words(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(drift, "dress", lambda axis, title, *_: titles.append(title))
    store = Store(unmeasured(tmp_path / "c"))
    found = compared(scores(tidy(store)), entrants(store))
    rows = found.rows[found.rows["metric"] == "unsaid_identity"]
    cohorts = cohorts_of(store)
    drift.price(rows, cast(entrants(store), found.baseline, list(cohorts)), "", tmp_path / "x.png", [], cohorts)
    assert titles == ["", "a cpu, threads 1", "a cpu, threads 2"]


def test_a_table_whose_columns_are_all_aside_is_not_for_a_terminal(tmp_path):
    _, sheets, _ = render(unmeasured(tmp_path / "c"))
    assert sum("timings of quality cells" in sheet.title for sheet in sheets) == 2
    assert all(on_terminal(sheet) for sheet in sheets)
    assert all(len(table.columns) > 1 for sheet in sheets for table in fitted(sheet, 100))
    aside = Sheet("of the page only", [])
    aside.add("strategy", ["memrope"])
    assert on_terminal(aside)
    aside.add("motion", ["0.9"], on_terminal=False)
    assert not on_terminal(aside)
