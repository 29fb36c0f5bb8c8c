"""What the suites of cost make of their samples: definitions, by numbers whose answer is known."""

import pandas as pd
import pytest

from harness import registry
from harness.backbone.presets import Backbone
from harness.backbone.request import BackboneRequest
from harness.campaign.campaign import make_campaign
from harness.campaign.expansion import suites_of
from harness.plan.device import DEVICES
from harness.pocket.preset import pocket
from reports.sheets.cost import in_bytes
from reports.statistics.bootstrap import interval
from suites.fps import Fps
from suites.latency import Latency
from suites.vram import Vram

ABOUT = {"cell": "c", "strategy": "s", "knobs": "{}", "seed": 0, "horizon_latent_frames": 240, "horizon_seconds": 60.0}
ENDS = list(range(3, 241, 3))


def table(values):
    rows = [
        {**ABOUT, "metric": name, "unit": "?", "better": "?", "at_frame": at, "value": value}
        for name, curve in values.items()
        for at, value in curve.items()
    ]
    return pd.DataFrame(rows)


def scores(suite, values):
    scored = suite.scores(table(values))
    assert set(scored["metric"]) <= set(suite.metrics)
    return {(row.metric, row.at_frame): row.value for row in scored.itertuples()}


def test_three_rates_by_their_definitions():
    # Slow until frame 30, then 0.2 s a chunk of 12 pixel frames, and 0.1 s to decode it.
    found = scores(
        Fps(),
        {
            "chunk_seconds": {end: 1.0 if end <= 30 else 0.2 for end in ENDS},
            "decode_seconds": dict.fromkeys(ENDS, 0.1),
            "start_seconds": {3: 4.0},
            "whole_seconds": {240: 4.0 + 10 + 70 * 0.2 + 8.0},
            "steady_from": {240: 30},
            "pixel_frames": {240: 4 * 239 + 1},
        },
    )
    assert found["dit_fps", 240] == pytest.approx(12 / 0.2)
    assert found["stream_fps", 240] == pytest.approx(12 / 0.3)
    assert found["wall_fps", 240] == pytest.approx(957 / 36)
    assert found["start_seconds", 240] == 4.0
    # Horizons of 5 s, 30 s and 60 s: the last 15 % of each.
    assert [found["chunk_seconds", h] for h in (21, 120, 240)] == pytest.approx([1.0, 0.2, 0.2])


def test_waits_and_when_nobody_knows_the_slowest_in_a_hundred():
    chunks = {end: end / 1000 for end in ENDS if end not in (99, 150)}
    one = {"first_seconds": {3: 0.5}, "switch_seconds": {99: 0.3, 150: 0.5}, "steady_from": {240: 30}}
    found = scores(Latency(), {**one, "chunk_seconds": chunks})
    steady = pd.Series([value for end, value in chunks.items() if end > 30])
    assert found["first_ms", 240] == 500
    assert found["switch_ms", 240] == pytest.approx(400)
    assert found["chunk_p50_ms", 240] == pytest.approx(1000 * steady.median())
    assert found["chunk_p90_ms", 240] == pytest.approx(1000 * steady.quantile(0.9))
    assert ("chunk_p99_ms", 240) not in found
    many = {3 * n: 0.1 for n in range(11, 111)} | {333: 9.0}
    found = scores(Latency(), {**one, "chunk_seconds": many})
    assert found["chunk_p99_ms", 240] == pytest.approx(100)


def test_growth_is_a_slope_and_nothing_of_the_beginning():
    steady = {end: 1000.0 if end <= 30 else 5000.0 for end in ENDS}
    grows = {end: 7.0 * number for number, end in enumerate(ENDS)}
    paper = {"planned_cache_bytes": {240: 5000.0}, "steady_from": {240: 30}}
    found = scores(Vram(), {"cache_bytes": steady, "resident_bytes": grows, **paper})
    assert found["growth_bytes", 240] == pytest.approx(0, abs=1e-6)
    assert found["process_growth_bytes", 240] == pytest.approx(7)
    assert (found["cache_bytes", 21], found["cache_bytes", 240]) == (1000, 5000)
    assert found["planned_cache_bytes", 240] == 5000


def test_sizes_that_repeat_do_not_grow():
    paper = {"resident_bytes": dict.fromkeys(ENDS, 7.0), "steady_from": {240: 30}}
    swings = {end: 5000.0 + 900 * (number % 2) for number, end in enumerate(ENDS)}
    assert scores(Vram(), {"cache_bytes": swings, **paper})["growth_bytes", 240] == 0
    grows = {end: size + 10 * end for end, size in swings.items()}
    assert scores(Vram(), {"cache_bytes": grows, **paper})["growth_bytes", 240] == pytest.approx(30, rel=0.1)


@pytest.mark.parametrize("suite", [Fps(), Latency(), Vram()])
def test_tasks_are_repeats_that_only_their_seed_tells_apart(suite):
    for tier in suite.tiers:
        tasks = suite.tasks(pocket(), tier, seed=3)
        assert len(tasks) >= 2
        assert [task.rows[0].seed for task in tasks] == [3000 + number for number in range(len(tasks))]
        assert len({(task.frames, task.rows[0].script, task.boundaries) for task in tasks}) == 1
        assert all(start % 3 == 0 for start, _ in tasks[0].rows[0].script)


def test_few_repeats_are_given_students_interval():
    import numpy as np
    from scipy import stats

    values = np.array([1.0, 1.2, 0.9, 1.1, 1.3])
    found = interval(values, np.arange(5))
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    twice = interval(np.concatenate((values, values)), np.concatenate((np.arange(5), np.arange(5))))
    assert (twice.low, twice.high) == pytest.approx((low, high))


def test_few_repeats_cover_the_truth_as_often_as_they_say():
    import numpy as np

    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        found = interval(rng.normal(5, 1, 5), np.arange(5))
        covered += found.low <= 5 <= found.high
    assert 925 <= covered <= 970


def test_bytes_in_their_unit():
    assert [in_bytes(x) for x in (0.0, -0.2, 999, 1500, 2.5e6, 3.45e9)] == [
        "0 B", "0 B", "999 B", "1.50 kB", "2.50 MB", "3.45 GB",
    ]  # fmt: skip
    assert in_bytes(2.5e6, 2.4e6, 2.65e6) == "2.50 [2.40, 2.65] MB"
    assert in_bytes(2.5e6, 2.499e6, 2.501e6) == "2.50 MB"


def test_the_default_campaign_is_about_quality():
    backbone = registry.backbone("pocket")
    assert suites_of(make_campaign({}), backbone) == ("drift", "interactive", "distance", "fairness")
    # Fairness needs a known truth.
    unknown = Backbone(model=backbone.model)
    assert suites_of(make_campaign({}), unknown) == ("drift", "interactive", "distance")
    assert suites_of(make_campaign({"suites": ["fps"]}), backbone) == ("fps",)


def test_a_cpu_counts_bytes_without_compilation(monkeypatch):
    """Tensors of compiled code are not seen by the count."""
    ways = []
    monkeypatch.setattr("suites.vram.timed", lambda backbone, *_, **__: ways.append(backbone.compile))
    monkeypatch.setattr("suites.vram.at_hand", lambda *_: DEVICES["H100"])
    stage = registry.open_backbone(BackboneRequest(name="pocket", compile="blocks"))
    Vram().measure(stage, registry.strategy("sliding_window"), Vram().tasks(stage, "gate")[0], 0.0)
    # A short video first, which is not measured.
    assert ways == ["blocks", "off"]
