"""The cost part of a report, of made-up seconds: one strategy is a tenth slower than the baseline, and holds half."""

import numpy as np
import pytest

from harness import registry
from harness.store.store import Store
from harness.suite import Sample
from reports.arms import entrants
from reports.cost import speeds
from reports.plots.panels import front
from reports.report import render
from reports.statistics.comparison import compared
from reports.tables import scores, tidy

ARMS = {"sliding_window": (0.1, 4e6), "memrope": (0.11, 2e6)}
ENDS = range(3, 481, 3)


def samples(suite, seconds, cache, seed):
    rng = np.random.default_rng(seed)
    # What the machine does in a repeat falls on all arms alike.
    pace = {end: seconds * (1 + 0.1 * seed) * (1 + 0.01 * rng.random()) for end in ENDS}
    of = {
        "fps": {
            "chunk_seconds": pace, "decode_seconds": dict.fromkeys(ENDS, 0.01), "start_seconds": {3: 2.0},
            "whole_seconds": {480: 20.0}, "steady_from": {480: 30}, "pixel_frames": {480: 480},
        },
        "latency": {
            "chunk_seconds": {end: value for end, value in pace.items() if end != 300 and end > 3},
            "first_seconds": {3: 0.2}, "switch_seconds": {300: 2 * seconds}, "steady_from": {480: 30},
        },
        "vram": {
            "cache_bytes": dict.fromkeys(ENDS, cache), "resident_bytes": dict.fromkeys(ENDS, 1e8),
            "planned_cache_bytes": {480: cache}, "peak_bytes": {480: 9e6}, "bound_seconds": {480: 0.01},
            "steady_from": {480: 30},
        },
    }[suite]  # fmt: skip
    return [Sample(0, metric, end, float(value)) for metric, curve in of.items() for end, value in curve.items()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("runs") / "cost")
    knobs = {name: registry.strategy(name).knobs() for name in ARMS}
    arms = [{"label": name, "strategy": name, "knobs": knobs[name], "tables": ["as published"]} for name in ARMS]
    cells = {
        f"{suite}-{name}-{seed}": (suite, name, seed)
        for suite in ("fps", "latency", "vram")
        for name in ARMS
        for seed in range(4)
    }
    asked = {"backbone": "pocket", "tier": "quick", "suite_versions": {"fps": "1"}, "arms": arms, "cells": [*cells]}
    environment = {
        "cpu": "a cpu", "threads": 1, "gpu": None, "device": "cpu", "attention": "sdpa", "packages": {}, "code": {},
    }  # fmt: skip
    store.begin({"name": "cost", "asked": asked, "environment": environment})
    for cell, (suite, name, seed) in cells.items():
        about = {
            "backbone": "pocket", "strategy": name, "knobs": knobs[name], "suite": suite, "suite_version": "1",
            "skipped_metrics": {}, "seconds_per_latent_frame": 0.25, "status": "ok", "reason": "", "cost": {},
            "machine": {"threads": 1},
            "task": {"scenario": "switches" if suite == "latency" else "stream", "frames": 480, "given": 0,
                     "rows": [{"seed": seed, "script": [[0, "a thing"]]}]},
        }  # fmt: skip
        store.finish(cell, about, samples(suite, *ARMS[name], seed), {})
    return store.folder


def test_tables_of_speed_and_memory(folder):
    _, sheets, _ = render(folder)
    speed, memory = sheets
    assert set(speed.counts) == {"", "n=4"}
    assert (speed.title, memory.title) == ("what it costs: speed", "what it costs: memory")
    slow = dict(zip(speed.heads, speed.rows[1], strict=True))
    assert slow["strategy"] == "memrope"
    # Repeats differ by a third, and in every one of them memrope is slower: that is seen because they are paired.
    assert slow["DiT (FPS)"].endswith("▼")
    assert slow["p99"] != "n too small"
    assert dict(zip(memory.heads, memory.rows[1], strict=True))["cached"] == "2.00 MB ▲"
    for plot in ("chunk-latency", "cost-over-the-video"):
        assert (folder / f"plots/{plot}.png").read_bytes().startswith(b"\x89PNG")
    assert "DiT (FPS)" in (folder / "report.md").read_text(encoding="utf-8")


def test_repeats_are_told_apart_in_the_records(folder):
    table = tidy(Store(folder))
    assert sorted(table["repeat"].unique()) == [0, 1, 2, 3]
    by_arm = speeds(compared(scores(table), entrants(Store(folder))).rows)
    assert by_arm["sliding_window"] / by_arm["memrope"] == pytest.approx(1.1, rel=0.01)


def test_the_front_is_what_nothing_beats():
    from matplotlib.figure import Figure

    axis = Figure().add_subplot()
    points = [(1, 0.2), (2, 0.9), (3, 0.8), (4, 0.9), (5, 1.0)]
    front(axis, points, cheap=True)
    front(axis, points, cheap=False)
    lines = [list(zip(*line.get_data(), strict=True)) for line in axis.lines]
    assert lines == [[(1, 0.2), (2, 0.9), (5, 1.0)], [(5, 1.0)]]
